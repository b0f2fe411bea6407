use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::*;
use crate::domain::entropy::SystemEntropy;

fn worker() -> Worker {
    Worker::new(Arc::new(SystemEntropy), Arc::new(AtomicU64::new(0)))
}

fn password(text: &str) -> Password {
    Password::new(text.into()).expect("a fit password")
}

/// A hash of "open sesame" with these parameters.
fn hash_of(memory: u32, passes: u32, lanes: u32) -> PasswordHash {
    let params = Params::new(memory, passes, lanes, Some(OUTPUT)).expect("fit parameters");
    let mut output = [0; OUTPUT];
    worker().derive(&params, &password("open sesame"), b"saltsaltsaltsalt", &mut output).expect("derived");
    PasswordHash::new(stored::write(&params, b"saltsaltsaltsalt", &output))
}

#[test]
fn a_hash_matches_its_password_and_no_other() {
    let mut worker = worker();
    let hash = worker.hash(&password("open sesame")).expect("hashed");
    assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    let right = worker.verify(&password("open sesame"), Some(&hash)).expect("checked");
    assert!(matches!(right, Verdict::Right { rehashed: None }));
    let wrong = worker.verify(&password("open sesami"), Some(&hash)).expect("checked");
    assert!(matches!(wrong, Verdict::Wrong));
}

#[test]
fn composed_and_decomposed_letters_are_one_password() {
    let mut worker = worker();
    let hash = worker.hash(&password("Grüße aus Köln")).expect("hashed");
    let decomposed = password("Gru\u{308}ße\u{a0}aus Ko\u{308}ln");
    let right = worker.verify(&decomposed, Some(&hash)).expect("checked");
    assert!(matches!(right, Verdict::Right { rehashed: None }));
}

#[test]
fn a_hash_of_the_reference_implementation_is_the_same() {
    // echo -n "open sesame" | argon2 saltsaltsaltsalt -id -t 2 -k 1024 -p 2 -l 32 -e
    let reference = "$argon2id$v=19$m=1024,t=2,p=2$c2FsdHNhbHRzYWx0c2FsdA$awLC6grFnhaXgavPkjWTvD6iRUKpOAKHjubTNnhIOZY";
    assert_eq!(hash_of(1024, 2, 2).as_str(), reference);
}

#[test]
fn a_hash_with_other_parameters_is_checked_and_replaced() {
    let mut worker = worker();
    for old in [hash_of(1024, 1, 1), hash_of(1024, 2, 2), hash_of(65_536, 1, 4)] {
        let verdict = worker.verify(&password("open sesame"), Some(&old)).expect("checked");
        let Verdict::Right { rehashed: Some(fresh) } = verdict else {
            panic!("expected a fresh hash, got {verdict:?}")
        };
        let again = worker.verify(&password("open sesame"), Some(&fresh)).expect("checked");
        assert!(matches!(again, Verdict::Right { rehashed: None }));
    }
}

#[test]
fn a_refusal_takes_the_same_work_whatever_the_stored_hash() {
    let mut worker = worker();
    let wrong = password("open sesami");
    let usual = worker.hash(&password("open sesame")).expect("hashed");
    let too_expensive = PasswordHash::new(usual.as_str().replace("t=2", "t=20000"));
    let (cheap, odd, expensive) = (hash_of(8, 1, 1), hash_of(1001, 7, 3), hash_of(19_456, 5, 1));
    let broken = PasswordHash::new(String::new());
    let mut refuse = |hash: Option<&PasswordHash>| {
        let before = worker.done;
        let verdict = worker.verify(&wrong, hash).expect("checked");
        assert!(!matches!(verdict, Verdict::Right { .. }));
        worker.done - before
    };
    let today = u64::from(MEMORY_KIB * PASSES);
    let same = |work: u64, expected: u64| (expected..expected + u64::from(Params::MIN_M_COST)).contains(&work);
    for hash in [None, Some(&usual), Some(&cheap), Some(&odd), Some(&too_expensive), Some(&broken)] {
        let work = refuse(hash);
        assert!(same(work, today), "{hash:?}: {work} instead of {today}");
    }
    for hash in [Some(&expensive), None, Some(&usual), Some(&cheap), Some(&odd), Some(&too_expensive), Some(&broken)] {
        let (work, expected) = (refuse(hash), 19_456 * 5);
        assert!(same(work, expected), "{hash:?}: {work} instead of {expected} once an expensive one was seen");
    }
}

#[test]
fn a_hash_that_is_never_computed_is_refused_with_the_reason() {
    let usual = worker().hash(&password("open sesame")).expect("hashed");
    for odd in [
        String::new(),
        usual.as_str().replace("argon2id", "argon2i"),
        usual.as_str().replace("$v=19", ""),
        usual.as_str().replace("v=19", "v=16"),
        usual.as_str().replace("m=19456", "m=4194304"),
        usual.as_str().replace("t=2", "t=20000"),
    ] {
        let verdict = worker().verify(&password("open sesame"), Some(&PasswordHash::new(odd.clone())));
        assert!(matches!(verdict, Ok(Verdict::Unusable { .. })), "{odd}: {verdict:?}");
    }
}

#[test]
fn the_memory_of_a_dear_hash_is_given_back() {
    let mut worker = worker();
    worker.verify(&password("open sesami"), Some(&hash_of(65_536, 1, 1))).expect("checked");
    assert!(worker.blocks.capacity() <= usize::try_from(MEMORY_KIB).expect("small"));
}

#[tokio::test]
async fn a_full_queue_sheds_at_once() {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let hasher = Arc::new(Hasher::start(NonZeroUsize::MIN, 1, &entropy).expect("started"));
    let flood = (0..16).map(|_| hasher.verify(password("open sesame"), None));
    let answers = futures_util::future::join_all(flood).await;
    let shed = answers.iter().filter(|a| matches!(a, Err(HashError::Overloaded))).count();
    let done = answers.iter().filter(|a| matches!(a, Ok(Verdict::Wrong))).count();
    assert_eq!(shed + done, 16);
    assert!(shed >= 10 && done >= 1, "{shed} shed, {done} done");
    assert_eq!(hasher.waiting(), 0);
}

#[tokio::test]
async fn without_a_queue_each_idle_worker_takes_a_job() {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let two = NonZeroUsize::MIN.saturating_add(1);
    let hasher = Hasher::start(two, 0, &entropy).expect("started");
    for _ in 0..20 {
        // Asked for at the same moment, and again as soon as they are answered.
        let (one, other) =
            tokio::join!(hasher.verify(password("open sesame"), None), hasher.hash(password("open sesame")));
        assert!(matches!(one, Ok(Verdict::Wrong)) && other.is_ok(), "{one:?} {other:?}");
    }
    let answers = futures_util::future::join_all((0..3).map(|_| hasher.hash(password("open sesame")))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2, "and no more than that");
}

#[test]
fn a_queue_holds_a_job_for_each_idle_worker_and_its_capacity() {
    let queue = Arc::new(Queue::new(2, 3));
    let push = |job| {
        let place = queue.take_place(Share::default());
        if place {
            queue.push(job, Share::default());
        }
        place
    };
    for job in 0..5 {
        assert!(push(job), "{job}");
    }
    assert!(!push(5));
    assert_eq!(queue.waiting(), 5);
    let (started, go_on) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let (queue, started, go_on) = (Arc::clone(&queue), Arc::clone(&started), Arc::clone(&go_on));
            std::thread::spawn(move || {
                queue.serve(|_| {
                    started.fetch_add(1, Ordering::SeqCst);
                    while !go_on.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    Box::new(|| ())
                });
            })
        })
        .collect();
    while started.load(Ordering::SeqCst) < 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(queue.waiting(), 3);
    assert!(!push(5), "both are busy and three wait");
    go_on.store(true, Ordering::SeqCst);
    queue.close();
    for worker in workers {
        worker.join().expect("no panic");
    }
    assert_eq!(started.load(Ordering::SeqCst), 5, "what was taken in is done");
    assert!(!push(6), "closed");
}
