//! The reader and the cluster against real Apache Kafka.

mod as_modelled;
mod broker;
mod faults;
mod log;
mod model;
#[path = "../../../tests/src/need.rs"]
mod need;
mod ranges;
mod refusals;
mod remade;
mod samples;
mod transactions;
