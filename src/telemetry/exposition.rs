//! The two text formats that metrics are exposed in: `OpenMetrics`, and the older one of Prometheus.

use std::collections::HashMap;

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsFormat {
    /// [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/) 1.0, in which units are stated.
    OpenMetrics,
    /// [Prometheus text](https://prometheus.io/docs/instrumenting/exposition_formats/) 0.0.4, which every tool reads.
    Prometheus,
}

impl MetricsFormat {
    /// The one that a client asks for by its `Accept`; the newer one, if it asks for neither.
    pub fn accepted(accept: &str) -> Self {
        let older = accept.contains("text/plain") && !accept.contains("application/openmetrics-text");
        if older { Self::Prometheus } else { Self::OpenMetrics }
    }

    /// Its `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Writes what is given as `OpenMetrics` in this format.
    pub(super) fn written(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Prometheus => prometheus(&open_metrics),
        }
    }
}

/// The older format calls a counter and an information by the name of its sample, and has neither units nor an end.
fn prometheus(open_metrics: &str) -> String {
    let described = |line, keyword| -> Option<(&str, &str)> {
        let rest: &str = str::strip_prefix(line, keyword)?;
        rest.split_once(' ')
    };
    let types: HashMap<_, _> = open_metrics.lines().filter_map(|line| described(line, "# TYPE ")).collect();
    let suffix = |name| match types.get(name) {
        Some(&"counter") => "_total",
        Some(&"info") => "_info",
        Some(_) | None => "",
    };
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        if let Some((name, help)) = described(line, "# HELP ") {
            text.extend(["# HELP ", name, suffix(name), " ", help, "\n"]);
        } else if let Some((name, kind)) = described(line, "# TYPE ") {
            let kind = if kind == "info" { "gauge" } else { kind };
            text.extend(["# TYPE ", name, suffix(name), " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_is_written_from_the_newer() {
        let open = "# HELP a_b How many.\n# TYPE a_b counter\na_b_total{x=\"# TYPE y\"} 1\n# HELP t_seconds Time.\n\
                    # TYPE t_seconds gauge\n# UNIT t_seconds seconds\nt_seconds 0.5\n# HELP i What.\n# TYPE i info\n\
                    i_info{v=\"1\"} 1\n# EOF\n";
        let older = "# HELP a_b_total How many.\n# TYPE a_b_total counter\na_b_total{x=\"# TYPE y\"} 1\n\
                     # HELP t_seconds Time.\n# TYPE t_seconds gauge\nt_seconds 0.5\n# HELP i_info What.\n\
                     # TYPE i_info gauge\ni_info{v=\"1\"} 1\n";
        assert_eq!(MetricsFormat::Prometheus.written(open.to_owned()), older);
        assert_eq!(MetricsFormat::OpenMetrics.written(open.to_owned()), open);
    }

    #[test]
    fn a_client_gets_the_format_that_it_asks_for() {
        for (accept, format) in [
            ("", MetricsFormat::OpenMetrics),
            ("*/*", MetricsFormat::OpenMetrics),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", MetricsFormat::Prometheus),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                MetricsFormat::OpenMetrics,
            ),
        ] {
            assert_eq!(MetricsFormat::accepted(accept), format, "{accept}");
        }
    }
}
