//! Prints the schema of an `HTTPRoute` in the experimental channel of the Gateway API.

use gateway_api::experimental::httproutes::HttpRoute;
use kube::core::CustomResourceExt as _;

fn main() -> Result<(), serde_json::Error> {
    for version in HttpRoute::crd().spec.versions {
        if let Some(schema) = version.schema.and_then(|schema| schema.open_api_v3_schema) {
            println!("{}", serde_json::to_string(&schema)?);
        }
    }
    Ok(())
}
