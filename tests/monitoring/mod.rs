//! What operators watch: the metrics, what is written about them, and the examples that use them, read by Prometheus itself.

mod counted;
mod examples;
mod names;
mod prometheus;
mod promtool;
mod scrape;
mod series;
mod standbys;
