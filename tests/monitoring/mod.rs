//! What operators watch: the metrics, what is written about them, and the examples that use them, read by Prometheus itself.

mod counted;
mod names;
mod scrape;
mod series;
mod standbys;
