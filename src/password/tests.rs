use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use tokio::time::Instant;

use super::deadline::OURS;
use super::schemes::argon::MEMORY_KIB;
use super::*;
use crate::domain::entropy::SystemEntropy;

pub(super) fn worker() -> Worker {
    Worker {
        entropy: Arc::new(SystemEntropy),
        turns: Arc::new(Turns::new(1)),
        deadline: Arc::default(),
        blocks: Blocks::default(),
        times: HashTimes::default(),
    }
}

pub(super) fn password(text: &str) -> Typed {
    Typed::new(text.into()).expect("worth a hash")
}

fn set(text: &str) -> Password {
    Password::chosen(text.into(), "nobody", &crate::domain::password::Rules::default()).expect("a fit password")
}

/// A hash of "open sesame" with these costs.
fn hash_of(memory: u32, passes: u32, lanes: u32) -> PasswordHash {
    let params = Params::new(memory, passes, lanes, Some(32)).expect("fit parameters");
    let mut output = [0; 32];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(b"open sesame", b"saltsaltsaltsalt", &mut output).expect("derived");
    let [salt, output] = [&b"saltsaltsaltsalt"[..], &output].map(|bytes| STANDARD_NO_PAD.encode(bytes));
    PasswordHash::new(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${output}"))
}

/// bcrypt of "open sesame", of the least cost.
fn bcrypt_of() -> PasswordHash {
    PasswordHash::new("bcrypt:$2b$04$saltsaltsaltsaltsaltsOF9B6RDWSs8SJo1KGw9hAgBaNY.T5Kx6".into())
}

#[test]
fn a_hash_matches_its_password_and_no_other() {
    let mut worker = worker();
    let hash = worker.hash(&set("open sesame")).expect("hashed");
    assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    let right = worker.verify(&password("open sesame"), Some(&hash)).expect("checked");
    assert!(matches!(right, Verdict::Right { rehashed: None }));
    let wrong = worker.verify(&password("open sesami"), Some(&hash)).expect("checked");
    assert!(matches!(wrong, Verdict::Wrong));
}

#[test]
fn composed_and_decomposed_letters_are_one_password() {
    let mut worker = worker();
    let hash = worker.hash(&set("Grüße aus Köln")).expect("hashed");
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

#[tokio::test]
async fn a_refusal_takes_as_long_as_the_slowest_whatever_the_stored_hash() {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let hasher = Hasher::start(NonZeroUsize::MIN, 1, &entropy, &HashTimes::default()).expect("started");
    let usual = hasher.hash(set("open sesame")).await.expect("hashed");
    let (cheap, expensive) = (hash_of(8, 1, 1), hash_of(19_456, 16, 1));
    let too_expensive = PasswordHash::new(usual.as_str().replace("t=2", "t=20000"));
    let kinds = [
        None,
        Some(usual.clone()),
        Some(cheap),
        Some(bcrypt_of()),
        Some(too_expensive),
        Some(PasswordHash::new(String::new())),
        Some(PasswordHash::none()),
        Some(expensive.clone()),
    ];
    let refuse = async |hash| hasher.verify(password("open sesami"), hash).await.expect("checked");
    // Without a hash from elsewhere, nothing waits.
    refuse(Some(usual)).await;
    assert_eq!(hasher.deadline.refusal(1), None);
    refuse(Some(expensive)).await;
    for hash in kinds {
        let begun = Instant::now();
        let before = hasher.deadline.refusal(1).expect("a deadline");
        let verdict = refuse(hash.clone()).await;
        assert!(!matches!(verdict, Verdict::Right { .. }));
        // What was measured meanwhile may have moved it a little.
        let deadline = before.min(hasher.deadline.refusal(1).expect("a deadline"));
        assert!(begun.elapsed() >= deadline, "{hash:?}: {:?} instead of {deadline:?}", begun.elapsed());
    }
    // What is right is answered at once.
    let right = hasher.verify(password("open sesame"), Some(bcrypt_of())).await;
    assert!(matches!(right, Ok(Verdict::Right { rehashed: Some(_) })), "{right:?}");
}

#[tokio::test]
async fn a_cheap_hash_from_elsewhere_takes_as_long_as_none_from_the_first_refusal_on() {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let hasher = Hasher::start(NonZeroUsize::MIN, 1, &entropy, &HashTimes::default()).expect("started");
    assert!(!hasher.knows(&bcrypt_of()));
    hasher.measure(bcrypt_of()).await.expect("measured");
    assert!(hasher.knows(&bcrypt_of()) && hasher.deadline.knows(OURS));
    let wait = hasher.refusals_wait().await;
    let refused = hasher.verify(password("open sesami"), Some(bcrypt_of()));
    tokio::pin!(refused);
    let early = tokio::time::timeout(Duration::from_millis(50), &mut refused).await;
    assert!(early.is_err(), "refusals wait while kinds are measured");
    drop(wait);
    assert!(matches!(refused.await, Ok(Verdict::Wrong)));
}

#[test]
fn what_has_no_prepared_form_is_checked_and_its_hash_is_kept() {
    let tab = Scheme::Bcrypt.read("$2b$04$KHneOWoZ8g..YBCapkdvAuzMYQ9FEUmUNRWrJVhIjgyHmjTC3NH/C").expect("fit");
    let verdict = worker().verify(&password("tab\there"), Some(&tab)).expect("checked");
    assert!(matches!(verdict, Verdict::Right { rehashed: None }), "{verdict:?}");
    let ours = worker().hash(&set("open sesame")).expect("hashed");
    let verdict = worker().verify(&password("open\tsesame"), Some(&ours)).expect("checked");
    assert!(matches!(verdict, Verdict::Wrong));
}

#[test]
fn nothing_is_the_password_of_who_has_none() {
    for hash in [PasswordHash::none(), PasswordHash::new("none:".into()), PasswordHash::new("bcrypt:!".into())] {
        for typed in ["!", " ", "none:", "bcrypt:!", "\u{200b}"] {
            let verdict = worker().verify(&password(typed), Some(&hash)).expect("checked");
            assert!(!matches!(verdict, Verdict::Right { .. }), "{hash:?} {typed:?}");
        }
    }
}

#[tokio::test]
async fn large_ones_take_turns_beside_others_and_no_more_wait_than_may() {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let two = NonZeroUsize::MIN.saturating_add(1);
    let hasher = Hasher::start(two, 2, &entropy, &HashTimes::default()).expect("started");
    let large = hash_of(65_536, 4, 1);
    // The first has the turn, two wait for it, and their worker refuses the fourth.
    let all: Vec<_> = (0..4).map(|_| hasher.verify(password("open sesami"), Some(large.clone()))).collect();
    let answers = futures_util::future::join_all(all).await;
    let shed = answers.iter().filter(|answer| matches!(answer, Err(HashError::Overloaded))).count();
    assert!(shed <= 1 && answers.iter().all(|answer| matches!(answer, Ok(Verdict::Wrong) | Err(_))), "{answers:?}");
    let (one, other) = tokio::join!(
        hasher.verify(password("open sesame"), Some(large.clone())),
        hasher.verify(password("open sesame"), Some(large)),
    );
    assert!(matches!((one, other), (Ok(Verdict::Right { .. }), Ok(Verdict::Right { .. }))));
    assert_eq!(hasher.waiting(), 0);
}

#[test]
fn a_hash_that_is_never_computed_is_refused_with_the_reason() {
    let usual = worker().hash(&set("open sesame")).expect("hashed");
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
    assert!(worker.blocks.kept() <= usize::try_from(MEMORY_KIB).expect("small"));
}

#[tokio::test]
async fn a_full_queue_sheds_at_once() {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let hasher = Arc::new(Hasher::start(NonZeroUsize::MIN, 1, &entropy, &HashTimes::default()).expect("started"));
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
    let hasher = Hasher::start(two, 0, &entropy, &HashTimes::default()).expect("started");
    for _ in 0..20 {
        // Asked for at the same moment, and again as soon as they are answered.
        let (one, other) = tokio::join!(hasher.verify(password("open sesame"), None), hasher.hash(set("open sesame")));
        assert!(matches!(one, Ok(Verdict::Wrong)) && other.is_ok(), "{one:?} {other:?}");
    }
    let answers = futures_util::future::join_all((0..3).map(|_| hasher.hash(set("open sesame")))).await;
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
