//! Who listens for commits.

use crate::cluster::Cluster;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, NoTls};

/// What a schema's channel says from now on.
pub struct Listener {
    _client: Client,
    heard: mpsc::Receiver<(String, String)>,
}

impl Listener {
    pub async fn start(cluster: &Cluster, schema: &str) -> Listener {
        let (client, mut connection) = tokio_postgres::connect(&cluster.url(), NoTls).await.unwrap();
        let (send, heard) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(news) = message {
                    let news = (news.channel().to_string(), news.payload().to_string());
                    send.send(news).await.unwrap();
                }
            }
        });
        let listen = format!("LISTEN {}", sinks::channel(schema));
        client.batch_execute(&listen).await.unwrap();
        Listener { _client: client, heard }
    }

    /// The next channel and payload.
    pub async fn next(&mut self) -> (String, String) {
        let heard = tokio::time::timeout(Duration::from_secs(10), self.heard.recv());
        heard.await.unwrap().unwrap()
    }

    /// Whether nothing more has been said.
    pub fn is_silent(&mut self) -> bool {
        self.heard.try_recv().is_err()
    }
}
