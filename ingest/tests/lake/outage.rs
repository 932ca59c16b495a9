//! What is waited for, what is an object's own damage, and what is said at once.

use crate::harness::{World, lines, object, pin};
use crate::server::{Fault, Seen};
use causes::with_causes;
use ingest::lake::{Class, FetchOptions, Lake, LakeError, LakeObserver, LakeOptions, LakeState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

type States = Arc<Mutex<Vec<LakeState>>>;

/// A lake that is waited for without end, and what its observer saw.
fn observed(world: &World, url: &str) -> (Lake, States) {
    let states = States::default();
    let seen = Arc::clone(&states);
    let lake = world.open_changed(url, |mut options: LakeOptions| {
        let seen = Arc::clone(&seen);
        options.retries.retry_timeout = None;
        options.retries.notice = Duration::ZERO;
        options.observer = Some(LakeObserver::new(move |state| seen.lock().unwrap().push(state)));
        options
    });
    (lake, states)
}

/// `Unavailable` and `Available` in turns, beginning with the former and ending with the latter.
fn demand_one_outage(states: &States, case: &str) {
    let states = states.lock().unwrap();
    let (last, before) = states
        .split_last()
        .unwrap_or_else(|| panic!("{case}: nothing was shown"));
    assert_eq!(*last, LakeState::Available, "{case}");
    assert_eq!(before.len(), 1, "{case}: {states:?}");
    assert!(matches!(before[0], LakeState::Unavailable { .. }), "{case}");
}

const OUTAGES: [Fault; 9] = [
    Fault::Refused(503, "SlowDown"),
    Fault::Refused(500, "InternalError"),
    Fault::Refused(429, "TooManyRequests"),
    Fault::Refused(400, "ExpiredToken"),
    Fault::Refused(403, "InvalidAccessKeyId"),
    Fault::Refused(403, "SignatureDoesNotMatch"),
    Fault::Refused(403, "RequestTimeTooSkewed"),
    // a policy that gives nothing out says nothing about an object
    Fault::Refused(403, "AccessDenied"),
    Fault::Reset,
];

/// Every request meets the fault for so long.
fn out_for(world: &World, time: Duration, fault: Fault) {
    let until = Instant::now() + time;
    world.server.inject(move |_| {
        if Instant::now() < until {
            fault.clone()
        } else {
            Fault::None
        }
    });
}

#[test]
fn an_outage_is_waited_for_and_no_object_is_blamed() {
    let world = World::new();
    let content = lines(100);
    for start in 0..6 {
        world.write(&pin(start * 100, "json"), &content);
    }
    for fault in OUTAGES {
        let (lake, states) = observed(&world, "s3://lake");
        world.server.inject(|_| Fault::None);
        let objects = world.list(&lake).objects;
        assert_eq!(objects.len(), 6);
        out_for(&world, Duration::from_millis(150), fault.clone());
        let reads = world.fetch_these(&lake, &objects, FetchOptions::default(), &mut |_| {});
        for (key, read) in reads {
            assert!(read.sound() == content, "{key} after {fault:?}");
        }
        demand_one_outage(&states, &format!("{fault:?}"));
    }
}

#[test]
fn every_kind_of_request_is_repeated() {
    let world = World::new();
    let content = lines(10);
    world.write(&pin(0, "json"), &content);
    world.write("_pinflow/x.json", b"{}");
    let (lake, states) = observed(&world, "s3://lake");
    world.server.inject(|_| Fault::None);
    let object = world.list(&lake).objects.remove(0);
    let mut outages = 0;
    let mut during = |what: &str, ask: &dyn Fn()| {
        for fault in [
            Fault::Refused(503, "SlowDown"),
            Fault::Refused(403, "InvalidAccessKeyId"),
        ] {
            out_for(&world, Duration::from_millis(60), fault.clone());
            ask();
            outages += 1;
            let shown = states.lock().unwrap().len();
            assert_eq!(shown, 2 * outages, "{what} with {fault:?}");
        }
    };
    let run = &world.runtime;
    during("list", &|| {
        assert_eq!(run.block_on(lake.list(&["pin"])).unwrap().objects.len(), 1)
    });
    during("metadata", &|| {
        assert!(!run.block_on(lake.metadata(&object)).unwrap().is_ours())
    });
    during("look_at", &|| {
        assert!(run.block_on(lake.look_at(&object.key)).unwrap().is_some())
    });
    during("get_small", &|| {
        assert_eq!(
            run.block_on(lake.get_small("_pinflow/x.json")).unwrap().as_deref(),
            Some(&b"{}"[..])
        )
    });
    during("get_versioned", &|| {
        assert!(run.block_on(lake.get_versioned("_pinflow/y.json")).unwrap().is_none())
    });
    during("read_prefix", &|| {
        assert_eq!(
            run.block_on(lake.read_prefix(&object.key, object.encoding, 5)).unwrap(),
            content[..5]
        )
    });
    during("first_line", &|| {
        assert!(run.block_on(lake.first_line(&object, 1 << 20)).unwrap().is_some())
    });
    during("put", &|| {
        run.block_on(lake.put("_pinflow/z", b"z".to_vec(), Default::default()))
            .unwrap()
    });
    during("delete", &|| run.block_on(lake.delete("_pinflow/z")).unwrap());
}

#[test]
fn an_object_is_damaged_only_when_the_lake_can_be_listed() {
    let world = World::new();
    let content = lines(100);
    let refused = [
        (pin(0, "json"), Fault::Refused(403, "AccessDenied")),
        (pin(100, "json"), Fault::Refused(403, "InvalidObjectState")),
        (pin(200, "json"), Fault::Refused(404, "NoSuchKey")),
    ];
    for (key, _) in &refused {
        world.write(key, &content);
    }
    world.write(&pin(300, "json"), &content);
    let faults = refused.clone();
    world.server.inject(move |seen| {
        let fault = faults.iter().find(|(key, _)| seen.request.ends_with(key.as_str()));
        fault.map_or(Fault::None, |(_, fault)| fault.clone())
    });
    let reads = world.fetch(&world.s3(), FetchOptions::default());
    assert!(reads[&pin(300, "json")].sound() == content);
    for (key, _) in &refused {
        let error = reads[key].unread();
        assert_eq!(error.class(), Class::Damaged, "{error}");
        assert!(with_causes(&error).contains(key.as_str()), "{error}");
    }
}

#[test]
fn what_outlasts_the_patience_is_an_outage_and_no_damage() {
    let world = World::new();
    world.write(&pin(0, "json"), b"{}\n");
    for fault in OUTAGES {
        let lake = world.s3_for(Duration::from_millis(100));
        world.server.inject(|_| Fault::None);
        let objects = world.list(&lake).objects;
        world.server.inject({
            let fault = fault.clone();
            move |_| fault.clone()
        });
        let began = Instant::now();
        let reads = world.fetch_these(&lake, &objects, FetchOptions::default(), &mut |_| {});
        let error = reads[&pin(0, "json")].unread();
        assert_eq!(error.class(), Class::Unavailable, "{fault:?}: {error}");
        assert!((Duration::from_millis(100)..Duration::from_secs(5)).contains(&began.elapsed()));
        let listed = world.runtime.block_on(lake.list(&["pin"])).unwrap_err();
        assert_eq!(listed.class(), Class::Unavailable, "{fault:?}: {listed}");
        assert!(
            !with_causes(&listed).contains('\n') && with_causes(&listed).len() < 200,
            "{listed}"
        );
    }
}

#[test]
fn without_access_from_the_start_nothing_is_waited_for() {
    let world = World::new();
    let cases = [
        (Fault::Refused(403, "AccessDenied"), "s3:ListBucket"),
        (Fault::Refused(403, "InvalidAccessKeyId"), "AWS_PROFILE"),
        (Fault::Refused(403, "SignatureDoesNotMatch"), "AWS_SECRET_ACCESS_KEY"),
        (Fault::Refused(400, "ExpiredToken"), "AWS_ACCESS_KEY_ID"),
        (Fault::Refused(403, "RequestTimeTooSkewed"), "clock"),
    ];
    for (fault, hint) in cases {
        let (lake, states) = observed(&world, "s3://lake");
        world.server.inject({
            let fault = fault.clone();
            move |_| fault.clone()
        });
        let error = world.runtime.block_on(lake.list(&["pin"])).unwrap_err();
        assert!(matches!(error, LakeError::NoAccess { .. }), "{error}");
        assert_eq!(error.class(), Class::Fatal);
        let text = with_causes(&error);
        assert!(
            text.starts_with("cannot use s3://lake (") && text.contains(hint),
            "{text}"
        );
        assert!(!text.contains('\n'), "{text}");
        assert_eq!(world.server.requests("GET lake").len(), 1, "{fault:?}");
        assert!(states.lock().unwrap().is_empty());
    }
}

#[test]
fn a_folder_that_is_away_is_waited_for() {
    let world = World::new();
    let content = lines(50);
    world.write(&pin(0, "json"), &content);
    world.write(&pin(50, "json"), &content);
    let url = format!("file://{}", world.path("").display());
    // as an unmounted folder looks: gone, or there and empty
    for empty in [false, true] {
        let (lake, states) = observed(&world, url.trim_end_matches('/'));
        assert_eq!(world.list(&lake).objects.len(), 2);
        let (root, away) = (world.path(""), world.folder.path().join("away"));
        std::fs::rename(&root, &away).unwrap();
        if empty {
            std::fs::create_dir(&root).unwrap();
        }
        let back = AtomicBool::new(false);
        let reads = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(150));
                back.store(true, Ordering::SeqCst);
                if empty {
                    std::fs::remove_dir(&root).unwrap();
                }
                std::fs::rename(&away, &root).unwrap();
            });
            let listed = [pin(0, "json"), pin(50, "json")].map(|key| object(&key));
            let reads = world.fetch_these(&lake, &listed, FetchOptions::default(), &mut |_| {});
            assert!(back.load(Ordering::SeqCst), "read before it was back");
            reads
        });
        assert!(reads.values().all(|read| read.sound() == content));
        demand_one_outage(&states, "a folder");
        // what is gone while the folder is there is an object's own loss
        std::fs::remove_file(world.path(&pin(50, "json"))).unwrap();
        std::fs::create_dir(world.path(&pin(100, "json"))).unwrap();
        let listed = [pin(0, "json"), pin(50, "json"), pin(100, "json")].map(|key| object(&key));
        let reads = world.fetch_these(&lake, &listed, FetchOptions::default(), &mut |_| {});
        assert!(reads[&pin(0, "json")].sound() == content);
        for key in [pin(50, "json"), pin(100, "json")] {
            assert_eq!(reads[&key].unread().class(), Class::Damaged, "{:?}", reads[&key].failed);
        }
        world.write(&pin(50, "json"), &content);
        std::fs::remove_dir(world.path(&pin(100, "json"))).unwrap();
    }
}

/// An expired session between two parts of a body is no end of the object.
#[test]
fn a_session_that_expires_within_a_body_is_waited_for() {
    let world = World::new();
    let content = lines(10_000);
    world.write(&pin(0, "json"), &content);
    let (lake, states) = observed(&world, "s3://lake");
    world.server.inject(|seen: &Seen| match seen.before {
        _ if !seen.request.contains("pin+0") => Fault::None,
        0 => Fault::Cut(300_000),
        1..40 => Fault::Refused(400, "ExpiredToken"),
        _ => Fault::None,
    });
    let options = FetchOptions {
        chunk_bytes: 64 << 10,
        ..FetchOptions::default()
    };
    let reads = world.fetch(&lake, options);
    assert!(reads[&pin(0, "json")].sound() == content);
    demand_one_outage(&states, "a body");
}
