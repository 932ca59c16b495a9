//! The reader and the cluster against real Apache Kafka.

mod broker;
mod faults;
mod log;
mod ranges;
mod remade;
mod samples;
mod transactions;
