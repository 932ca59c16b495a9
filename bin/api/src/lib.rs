//! Results over HTTP: tables as rows and as a stream of changes, and why a number is what it is.

#![forbid(unsafe_code)]
