//! The reader and the cluster against real Apache Kafka.

mod broker;
mod faults;
mod log;
mod model;
mod ranges;
mod refusals;
mod remade;
mod samples;
mod transactions;
