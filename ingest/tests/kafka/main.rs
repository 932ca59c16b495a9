//! The reader and the cluster against real Apache Kafka.

mod broker;
mod faults;
mod log;
#[path = "../../../tests/src/need.rs"]
mod need;
mod ranges;
mod remade;
mod samples;
mod transactions;
