//! The run of a simulation: which requests are made, and when each is answered.

use sessiond_support::random::Random;

use crate::database::{Commit, Database, Job, View};
use crate::queue::Queue;
use crate::random::{around, until_next};
use crate::replica::{Replica, Turn};
use crate::setting::Setting;
use crate::{MICROSECOND, MILLISECOND, SECOND, Time};

/// L, after which no replica is waited for any more.
const LEASE: Time = SECOND;
/// Not looked at: everything begins at once.
const WARM_UP: Time = SECOND;

/// The result of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// How long half of the logouts took, from their replica's queue to their answer, in milliseconds. Infinite where so
    /// many were not answered.
    pub half: f64,
    /// How long 99 of 100 took.
    pub most: f64,
    /// How busy the database's cores were, of 1.
    pub busy: f64,
    /// Statements a second.
    pub statements: f64,
    /// Transactions a second that ended sessions.
    pub batches: f64,
    /// Flushes a second.
    pub flushes: f64,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A client logs out.
    Logout,
    /// A task that keeps a row may have slept enough.
    Wake(usize),
    /// A job has reached the database.
    Asked(Job),
    /// The rest of a transaction has: it takes the counter, and ends what it locked.
    AskedToCount { replica: usize, logouts: usize },
    /// A core is through with a job.
    Worked(Job, View),
    /// The disk is through with a flush.
    Flushed,
    /// A commit is answered for, by the standby too.
    Durable(Commit),
    /// The sessions of the batch are locked.
    Locked { replica: usize, logouts: usize },
    /// The batch is committed.
    Committed { replica: usize, seq: u64 },
    /// A notification has arrived.
    Hinted(usize),
    /// The news have arrived; they were asked for after that number.
    Read { replica: usize, view: View },
    /// What was applied is stored.
    Acknowledged(usize),
    /// Some have waited for a lease.
    Lapsed(usize),
}

struct World<'s> {
    setting: &'s Setting,
    events: Queue<Event>,
    random: Random,
    database: Database,
    replicas: Vec<Replica>,
    /// Whether a process is to pass a notification on, and has not begun.
    woken: Vec<bool>,
    /// How long each logout took that came while the run was looked at.
    took: Vec<Time>,
    came: usize,
    worked: Time,
    statements: u64,
    batches: u64,
    flushes: u64,
}

/// Runs it.
pub fn simulate(setting: &Setting) -> Outcome {
    let mut world = World::new(setting);
    let end = WARM_UP + setting.seconds * SECOND;
    // Requests that came late are given time to be answered.
    let patience = end + 2 * LEASE;
    while let Some(event) = world.events.next() {
        if world.events.now() > patience {
            break;
        }
        world.happens(event);
    }
    world.outcome()
}

impl<'s> World<'s> {
    fn new(setting: &'s Setting) -> Self {
        let mut random = Random::seeded(setting.seed);
        let mut events = Queue::new();
        let mut replicas: Vec<Replica> = (0..setting.replicas).map(|_| Replica::default()).collect();
        for (number, replica) in replicas.iter_mut().enumerate() {
            replica.due = (random.fraction() * (LEASE / 3) as f64) as Time;
            replica.alarm = Some(replica.due);
            events.at(replica.due, Event::Wake(number));
        }
        events.at(0, Event::Logout);
        Self {
            setting,
            events,
            random,
            database: Database::new(setting.cores, setting.replicas),
            replicas,
            woken: vec![false; setting.replicas],
            took: Vec::new(),
            came: 0,
            worked: 0,
            statements: 0,
            batches: 0,
            flushes: 0,
        }
    }

    fn looked_at(&self, at: Time) -> bool {
        (WARM_UP..WARM_UP + self.setting.seconds * SECOND).contains(&at)
    }

    fn happens(&mut self, event: Event) {
        let now = self.events.now();
        match event {
            Event::Logout => self.log_out(),
            Event::Wake(replica) => {
                self.replicas[replica].alarm = self.replicas[replica].alarm.filter(|alarm| *alarm > now);
                self.turn(replica);
            }
            Event::Asked(job) => self.ask(job),
            Event::AskedToCount { replica, logouts } => {
                self.database.take_counter(replica, logouts);
                self.work();
            }
            Event::Worked(job, view) => self.worked(job, view),
            Event::Flushed => {
                let (durable, another) = self.database.flushed();
                for commit in durable {
                    self.events.after(self.setting.standby * MICROSECOND, Event::Durable(commit));
                }
                if another {
                    self.flush();
                }
            }
            Event::Durable(commit) => self.durable(commit),
            Event::Locked { replica, logouts } => self.travel(Event::AskedToCount { replica, logouts }),
            Event::Committed { replica, seq } => {
                let answered = self.replicas[replica].committed(seq, now);
                self.answer(answered);
                self.events.after(LEASE, Event::Lapsed(replica));
                self.commit_next(replica);
                self.turn(replica);
            }
            Event::Hinted(replica) => {
                self.replicas[replica].hinted = true;
                self.turn(replica);
            }
            Event::Read { replica, view } => self.read(replica, view),
            Event::Acknowledged(replica) => {
                self.replicas[replica].busy = false;
                self.turn(replica);
            }
            Event::Lapsed(replica) => {
                let answered = self.replicas[replica].lapse(now.saturating_sub(LEASE));
                self.answer(answered);
            }
        }
    }

    /// Half a round trip.
    fn travel(&mut self, event: Event) {
        self.events.after(self.setting.round_trip * MICROSECOND / 2, event);
    }

    fn log_out(&mut self) {
        let now = self.events.now();
        let replica = (self.random.fraction() * self.replicas.len() as f64) as usize;
        self.came += usize::from(self.looked_at(now));
        self.replicas[replica].queue.push_back(now);
        self.commit_next(replica);
        let next = until_next(&mut self.random, self.setting.logouts.into());
        if now < WARM_UP + self.setting.seconds * SECOND {
            self.events.after(next, Event::Logout);
        }
    }

    fn commit_next(&mut self, replica: usize) {
        if let Some(logouts) = self.replicas[replica].take_batch() {
            self.travel(Event::Asked(Job::Lock { replica, logouts }));
        }
    }

    fn answer(&mut self, came: Vec<Time>) {
        let now = self.events.now();
        for came in came {
            if self.looked_at(came) {
                self.took.push(now - came);
            }
        }
    }

    /// Has the task that keeps a row do its next step, if it is idle.
    fn turn(&mut self, number: usize) {
        let now = self.events.now();
        let replica = &mut self.replicas[number];
        if replica.busy {
            return;
        }
        match replica.turn(now) {
            Turn::Beat => {
                replica.busy = true;
                replica.due = now + LEASE / 3;
                self.travel(Event::Asked(Job::Beat { replica: number }));
            }
            Turn::Read => {
                replica.busy = true;
                let applied = replica.applied;
                self.travel(Event::Asked(Job::News { replica: number, applied }));
            }
            Turn::Sleep(until) => {
                if replica.alarm.is_none_or(|alarm| until < alarm) {
                    replica.alarm = Some(until);
                    self.events.at(until, Event::Wake(number));
                }
            }
        }
    }

    fn ask(&mut self, job: Job) {
        self.database.ask(job);
        self.work();
    }

    fn work(&mut self) {
        while let Some(job) = self.database.begin() {
            let cost = self.database.cost(job, &self.setting.costs) * self.setting.slowness;
            let took = around(&mut self.random, (cost * MICROSECOND as f64) as Time);
            // What is read shows what was committed when the reading began.
            let view = if let Job::News { replica, .. } = job {
                self.database.view(replica)
            } else {
                View { head: 0, others: 0 }
            };
            if let Job::Wake { replica } = job {
                self.woken[replica] = false;
            }
            if self.looked_at(self.events.now()) {
                self.worked += took;
                self.statements += job.statements();
            }
            self.events.after(took, Event::Worked(job, view));
        }
    }

    fn worked(&mut self, job: Job, view: View) {
        self.database.end();
        match job {
            Job::Lock { replica, logouts } => self.travel(Event::Locked { replica, logouts }),
            Job::Revoke { replica, .. } => self.commit(Commit::Revoke { replica }),
            Job::Beat { replica } => self.commit(Commit::Beat { replica }),
            Job::Signal { replica, seq, .. } => self.travel(Event::Committed { replica, seq }),
            Job::Wake { replica } => self.travel(Event::Hinted(replica)),
            Job::Flush => {}
            Job::News { replica, .. } => self.travel(Event::Read { replica, view }),
            Job::Acknowledge { replica, applied } => {
                self.database.applied[replica] = applied;
                self.travel(Event::Acknowledged(replica));
            }
        }
        self.work();
    }

    fn commit(&mut self, commit: Commit) {
        if self.database.commit(commit) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.flushes += u64::from(self.looked_at(self.events.now()));
        let took = around(&mut self.random, self.setting.flush * MICROSECOND);
        self.events.after(took, Event::Flushed);
        self.ask(Job::Flush);
    }

    fn durable(&mut self, commit: Commit) {
        match commit {
            Commit::Beat { replica } => {
                let applied = self.replicas[replica].applied;
                self.database.applied[replica] = applied;
                self.ask(Job::News { replica, applied });
            }
            Commit::Revoke { replica } => {
                self.batches += u64::from(self.looked_at(self.events.now()));
                let seq = self.database.count();
                let listeners: Vec<usize> = match self.setting.unnotified {
                    true => Vec::new(),
                    // A replica that was notified and has not read yet sees this too.
                    false => (0..self.replicas.len()).filter(|listener| !self.woken[*listener]).collect(),
                };
                self.database.ask(Job::Signal { replica, seq, listeners: listeners.len() });
                for listener in listeners {
                    self.woken[listener] = true;
                    self.database.ask(Job::Wake { replica: listener });
                }
                self.work();
            }
        }
    }

    fn read(&mut self, number: usize, view: View) {
        let now = self.events.now();
        let replica = &mut self.replicas[number];
        let newer = view.head > replica.applied;
        replica.applied = replica.applied.max(view.head);
        let answered = replica.settle(view.others);
        // Timers end with a millisecond.
        replica.again = (now / MILLISECOND + 2) * MILLISECOND;
        if newer {
            let applied = replica.applied;
            self.travel(Event::Asked(Job::Acknowledge { replica: number, applied }));
        } else {
            replica.busy = false;
        }
        self.answer(answered);
        self.turn(number);
    }

    fn outcome(mut self) -> Outcome {
        self.took.sort_unstable();
        let quantile = |share: f64| {
            let at = (self.came as f64 * share) as usize;
            self.took.get(at).map_or(f64::INFINITY, |took| *took as f64 / MILLISECOND as f64)
        };
        let seconds = self.setting.seconds as f64;
        Outcome {
            half: quantile(0.5),
            most: quantile(0.99),
            busy: self.worked as f64 / SECOND as f64 / seconds / self.setting.cores as f64,
            statements: self.statements as f64 / seconds,
            batches: self.batches as f64 / seconds,
            flushes: self.flushes as f64 / seconds,
        }
    }
}
