//! What is said of what is not accepted.
