//! The lake in a folder and on an S3 server (s3s in this process) that fails on request.

mod compact;
mod fetch;
mod harness;
mod outage;
mod s3_faults;
mod server;
mod store;
mod versions;
