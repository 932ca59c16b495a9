use super::*;
use std::io::Write;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Workers of a run of so many processes on free ports, from the point of view of each process.
fn run(processes: usize) -> Vec<Workers> {
    let address = |_| format!("127.0.0.1:{}", servers::free_port().unwrap());
    let addresses: Vec<String> = (0..processes).map(address).collect();
    let workers = |process| Workers {
        threads: 2,
        processes,
        process,
        addresses: addresses.clone(),
        peer_timeout: Duration::from_secs(30),
    };
    (0..processes).map(workers).collect()
}

/// Connects in the background.
fn start(workers: &Workers) -> tokio::task::JoinHandle<Result<Peers, EngineError>> {
    let workers = workers.clone();
    tokio::spawn(async move { connect(&workers).await })
}

/// A byte sent on each connection of one process arrives at the other one's of the same purpose.
fn are_connected(one: &mut Peers, of_one: usize, other: &mut Peers, of_other: usize) {
    use std::io::Read;
    let beat = |peers: &Peers, process: usize| {
        let found = peers.beats.iter().find(|(peer, _)| *peer == process);
        found.unwrap().1.try_clone().unwrap()
    };
    let data = |peers: &Peers, process: usize| peers.data[process].as_ref().unwrap().try_clone().unwrap();
    for (mut from, mut to, byte) in [
        (data(one, of_other), data(other, of_one), 7),
        (beat(one, of_other), beat(other, of_one), 8),
    ] {
        from.write_all(&[byte]).unwrap();
        let mut heard = [0];
        to.read_exact(&mut heard).unwrap();
        assert_eq!(heard, [byte]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_find_each_other_in_any_order_whoever_else_connects() {
    let workers = run(3);
    let second = start(&workers[1]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    // others connect to its port: one says nothing, one something else, one is gone at once, one claims to be process 0
    let address = &workers[1].addresses[1];
    let silent = TcpStream::connect(address).await.unwrap();
    let other = TcpStream::connect(address).await.unwrap();
    other.try_write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    drop(TcpStream::connect(address).await.unwrap());
    let mut zero = TcpStream::connect(address).await.unwrap();
    let claimed = Greeting::of(&workers[0], Kind::Data).say(&mut zero).await;
    assert!(matches!(claimed, Err(greeting::Error::Io(_))), "{claimed:?}");
    // process 2 is there, ends, and is started again before process 0 is there
    let mut early = TcpStream::connect(address).await.unwrap();
    Greeting::of(&workers[2], Kind::Data).say(&mut early).await.unwrap();
    drop(early);
    let third = start(&workers[2]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let first = start(&workers[0]);
    let mut peers = Vec::new();
    for process in [first, second, third] {
        let connected = timeout(Duration::from_secs(20), process)
            .await
            .expect("other connections delay no start");
        peers.push(connected.unwrap().unwrap());
    }
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let (left, right) = peers.split_at_mut(other);
        are_connected(&mut left[one], one, &mut right[0], other);
    }
    drop((silent, other));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greeting_that_is_heard_late_takes_no_place_of_a_process_that_was_started_again() {
    let workers = run(2);
    let first = start(&workers[0]);
    let connected = || async {
        loop {
            match TcpStream::connect(&workers[0].addresses[0]).await {
                Ok(stream) => return stream,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let greeting = Greeting::of(&workers[1], Kind::Data).bytes();
    let mut ended = connected().await;
    ended.write_all(&greeting[..5]).await.unwrap();
    // it was started again, and is quicker than what its first connection still has on the way
    let mut again = connected().await;
    Greeting::of(&workers[1], Kind::Data).say(&mut again).await.unwrap();
    ended.write_all(&greeting[5..]).await.unwrap();
    let refused = ended.read_u8().await;
    assert!(refused.is_err(), "{refused:?}");
    let mut beat = connected().await;
    Greeting::of(&workers[1], Kind::Beat).say(&mut beat).await.unwrap();
    let peers = timeout(Duration::from_secs(20), first).await.unwrap().unwrap().unwrap();
    let mut data = peers.data[1].as_ref().unwrap();
    data.write_all(&[7]).unwrap();
    assert_eq!(again.read_u8().await.unwrap(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_other_numbers_is_refused_and_told_so() {
    let workers = run(2);
    let first = start(&workers[0]);
    let other = Workers {
        threads: 3,
        ..workers[1].clone()
    };
    let refused = timeout(Duration::from_secs(20), connect(&other))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(refused.class(), crate::Class::Usage);
    let text = refused.to_string();
    let expected = "was started with 2 processes of 2 threads, this one with 2 of 3";
    assert!(
        text.contains(expected) && text.contains(&workers[0].addresses[0]),
        "{text}"
    );
    // the run itself goes on
    let second = start(&workers[1]);
    for process in [first, second] {
        timeout(Duration::from_secs(20), process)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_listened_on_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut workers = run(2).remove(0);
    workers.addresses[0] = taken.local_addr().unwrap().to_string();
    let error = connect(&workers).await.unwrap_err();
    assert!(error.to_string().contains(&workers.addresses[0]), "{error}");
}
