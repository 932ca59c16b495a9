//! The interfaces, and what a request asks of them.

use std::borrow::Cow;

/// The dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interface {
    /// `POST /pin/`
    FastApi,
    /// `POST /topics/{topic}`
    RestV2,
    /// `POST /v3/clusters/{id}/topics/{topic}/records`
    RestV3,
    /// `PUT /streams/{stream}/record`
    Kinesis,
    /// The gateway's own: health, metrics, description
    Operations,
}

impl Interface {
    /// Its name in logs and metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Interface::FastApi => "fastapi",
            Interface::RestV2 => "rest_v2",
            Interface::RestV3 => "rest_v3",
            Interface::Kinesis => "kinesis",
            Interface::Operations => "operations",
        }
    }
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target<'p> {
    /// A record of the stream with this index.
    Item(usize),
    ListTopics,
    DescribeTopic(Cow<'p, str>),
    Produce(Cow<'p, str>),
    ProduceToPartition(Cow<'p, str>, Cow<'p, str>),
    Stream {
        cluster: Cow<'p, str>,
        topic: Cow<'p, str>,
    },
    PutRecord(Cow<'p, str>),
    PutRecords(Cow<'p, str>),
    ListStreams,
    DescribeStream(Cow<'p, str>),
    CreateStream(Cow<'p, str>),
    DeleteStream(Cow<'p, str>),
    Health,
    Ready,
    Metrics,
    Version,
    OpenApi,
    /// The path exists, this method does not; these do.
    WrongMethod(&'static str),
    Nowhere,
}

impl Target<'_> {
    /// Whether it is served without a token.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Target::Health | Target::Ready | Target::Version | Target::OpenApi)
    }
}
