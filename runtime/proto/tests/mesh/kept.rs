//! Scheduled tasks that are written down: who asked for a change has his answer after it, a new stay goes on with them;
//! what goes out when, and how much of it.

use daffi_proto::call::Schedules;
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::id::LocalId;
use daffi_proto::node::{Command, SAVE_COUNTS_EVERY};
use daffi_proto::schedule::{Counts, Plan, Save, TaskInfo, TaskOp, Tasks};
use daffi_proto::session::{PeerIdentity, Role};

use crate::disk::Disk;
use crate::net::{Behaviour, Net, SUM, ms, name, schedule, secs, sum_type, text_type};

/// A connected node with a process whose tasks are written down, and where.
struct Keeper {
    node: usize,
    worker: LocalId,
    disk: Disk,
}

impl Keeper {
    fn new(net: &mut Net) -> Self {
        let node = net.runtime("keeper", Role::Node, PeerIdentity::Unix { uid: 1, pid: None });
        let kept = Schedules::Kept(Box::new(Tasks::new(name("worker"), 8, net.clock())));
        let worker = net.try_add_with(node, "worker", &[(SUM, sum_type())], kept).unwrap();
        net.dial(node);
        net.settle();
        Self { node, worker, disk: Disk::default() }
    }

    /// One whose process has a task with this plan, which is written down.
    fn with(net: &mut Net, plan: &str) -> Self {
        let mut keeper = Self::new(net);
        let plan = plan.parse().map_or_else(|_| Plan::Every(plan.parse().map(secs).unwrap()), Plan::Cron);
        let client = net.client();
        net.schedule(client, schedule(None, SUM, plan));
        net.settle();
        assert_eq!(keeper.saves(net), 1);
        keeper
    }

    /// What is on its way to the disk.
    fn on_its_way<'a>(&self, net: &'a Net) -> Option<&'a Save> {
        net.nodes[self.node].saves.get(&self.worker).map(|(save, _)| save)
    }

    /// How many entries are on their way, and whether the disk is waited for.
    fn entries(&self, net: &Net) -> Option<(usize, bool)> {
        match self.on_its_way(net)? {
            Save::Table(_) => None,
            Save::Entries { entries, durable } => Some((entries.len(), *durable)),
        }
    }

    /// Writes down what is to be, until there is nothing; how often.
    fn saves(&mut self, net: &mut Net) -> usize {
        let mut saves = 0;
        while let Some((save, changes)) = net.nodes[self.node].saves.remove(&self.worker) {
            self.disk.write(&save, net.clock());
            saves += 1;
            net.command(self.node, Command::TasksSaved { process: self.worker, changes, result: Ok(()) });
            net.settle();
        }
        saves
    }

    /// Does not write it down.
    fn fails(&self, net: &mut Net) {
        let (_, changes) = net.nodes[self.node].saves.remove(&self.worker).unwrap();
        let result = Err("no space left on device".to_owned());
        net.command(self.node, Command::TasksSaved { process: self.worker, changes, result });
        net.settle();
    }

    /// What a runtime finds on the disk that starts now.
    fn found(&self, net: &Net) -> Tasks {
        self.disk.tasks(name("worker"), 8, net.clock())
    }

    /// The counts that it finds of the first task, and its last error.
    fn counted(&self, net: &Net) -> ([u64; 4], Option<String>) {
        let TaskInfo { counts, last_error, .. } = self.found(net).list(net.clock()).next().unwrap();
        let Counts { runs, failures, skipped, missed } = counts;
        ([runs, failures, skipped, missed], last_error.map(|error| error.code))
    }
}

#[test]
fn who_makes_or_cancels_a_task_is_answered_when_it_is_written_down() {
    let mut net = Net::new(1);
    let mut keeper = Keeper::new(&mut net);
    let client = net.client();
    let tokens = [1, 2, 3].map(|time| net.schedule(client, schedule(None, SUM, Plan::Every(secs(time * 60)))));
    net.settle();
    assert!(net.nodes[client].tasks.is_empty());
    assert_eq!(keeper.saves(&mut net), 2, "what came while the first was on its way goes together");
    let [first, ..] = tokens.map(|token| net.tasks_of(client, token).unwrap().remove(0));
    let cancel = net.token();
    let caller = schedule(None, SUM, Plan::Every(secs(1))).call.caller;
    let op = TaskOp::Cancel(first.id.number);
    let request = daffi_proto::call::TasksRequest { caller, process: name("worker"), op, timeout: secs(10) };
    net.command(client, Command::Tasks { token: cancel, request });
    net.settle();
    assert!(!net.nodes[client].tasks.contains_key(&cancel));
    assert_eq!((keeper.saves(&mut net), keeper.found(&net).len()), (1, 2));
    assert_eq!(net.tasks_of(client, cancel).unwrap()[0].id, first.id);
}

#[test]
fn a_task_that_cannot_be_written_down_is_not_made() {
    let mut net = Net::new(2);
    let keeper = Keeper::new(&mut net);
    let client = net.client();
    let token = net.schedule(client, schedule(None, SUM, Plan::Every(secs(1))));
    net.settle();
    keeper.fails(&mut net);
    let error = net.tasks_of(client, token).unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::NOT_SAVED));
    assert!(error.message.contains("no space left"), "{error}");
    net.run(secs(5));
    assert_eq!((net.count(keeper.node).tasks, net.nodes[keeper.node].served.len()), (0, 0));
}

#[test]
fn what_could_not_be_written_down_is_written_as_a_whole_some_time_later() {
    let mut net = Net::new(6);
    let mut keeper = Keeper::with(&mut net, "1");
    net.run(SAVE_COUNTS_EVERY + secs(2));
    assert!(matches!(keeper.entries(&net), Some((1, true))));
    keeper.fails(&mut net);
    assert!(keeper.on_its_way(&net).is_none(), "a full disk is not tried without pause");
    net.run(SAVE_COUNTS_EVERY + secs(1));
    assert!(matches!(keeper.on_its_way(&net), Some(Save::Table(_))));
    keeper.saves(&mut net);
    assert!(keeper.counted(&net).0[0] >= 21);
}

#[test]
fn counts_are_written_down_after_a_while_and_when_the_process_leaves() {
    let mut net = Net::new(3);
    let mut keeper = Keeper::with(&mut net, "1");
    net.run(SAVE_COUNTS_EVERY);
    assert!(keeper.on_its_way(&net).is_none());
    net.run(secs(2));
    assert_eq!(keeper.entries(&net), Some((1, true)));
    keeper.saves(&mut net);
    assert_eq!(keeper.counted(&net), ([12, 0, 0, 0], None), "the end of the run that was in flight goes with it");
    net.run(ms(3500));
    net.command(keeper.node, Command::RemoveProcess(keeper.worker));
    assert!(matches!(keeper.on_its_way(&net), Some(Save::Table(_))));
    keeper.saves(&mut net);
    assert!(keeper.counted(&net).0[0] > 13 && keeper.disk.journal.is_empty());
}

#[test]
fn a_time_that_came_is_one_small_entry_for_certain_and_the_end_of_its_run_another_at_once() {
    let mut net = Net::new(7);
    let mut keeper = Keeper::with(&mut net, "*/5 * * * * *");
    net.nodes[keeper.node].behaviours.insert(keeper.worker, Behaviour::Echo(ms(100)));
    net.run(secs(5));
    assert_eq!(net.nodes[keeper.node].served.len(), 1, "a run does not wait for the disk");
    assert_eq!(keeper.entries(&net), Some((1, true)));
    let (save, changes) = net.nodes[keeper.node].saves.remove(&keeper.worker).unwrap();
    keeper.disk.write(&save, net.clock());
    // The disk is slow, and the end of the run waits for its turn.
    net.run(ms(200));
    assert!(keeper.on_its_way(&net).is_none());
    assert_eq!(
        keeper.counted(&net),
        ([1, 1, 0, 0], Some(code::CANCELLED.to_owned())),
        "who looks now sees a run in flight"
    );
    net.command(keeper.node, Command::TasksSaved { process: keeper.worker, changes, result: Ok(()) });
    assert_eq!(keeper.entries(&net), Some((1, false)));
    keeper.saves(&mut net);
    assert_eq!(keeper.counted(&net), ([1, 0, 0, 0], None));
    assert_eq!((keeper.disk.tables, keeper.disk.appends), (1, 2));
}

#[test]
fn what_was_only_handed_to_the_system_is_on_the_disk_after_a_while() {
    let mut net = Net::new(8);
    let mut keeper = Keeper::with(&mut net, "* * * * *");
    net.run(secs(61));
    keeper.saves(&mut net);
    assert_eq!((keeper.counted(&net).0, keeper.disk.appends), ([1, 0, 0, 0], 2));
    let syncs = keeper.disk.syncs;
    net.run(SAVE_COUNTS_EVERY);
    assert_eq!(keeper.entries(&net), Some((0, true)));
    keeper.saves(&mut net);
    assert_eq!((keeper.disk.syncs, keeper.disk.appends), (syncs + 1, 2));
    net.run(secs(30));
    assert!(keeper.on_its_way(&net).is_none(), "once");
}

#[test]
fn a_journal_that_is_full_gives_way_to_the_table_and_begins_anew() {
    let mut net = Net::new(9);
    let mut keeper = Keeper::with(&mut net, "* * * * * *");
    let error = CallError::failed(code::TRAP, "x".repeat(2000), SUM);
    net.nodes[keeper.node].behaviours.insert(keeper.worker, Behaviour::Fail(error));
    let mut longest = 0;
    while keeper.disk.tables < 3 {
        net.run(secs(1));
        keeper.saves(&mut net);
        longest = longest.max(keeper.disk.journal.len());
        assert!(net.now < secs(20_000), "{longest}");
    }
    let most = daffi_proto::schedule::MAX_JOURNAL_BYTES;
    assert!((most / 10 * 9..=most).contains(&longest), "{longest}");
    let client = net.client();
    let now = net.ask(client, "worker", TaskOp::List(None)).unwrap().remove(0);
    assert_eq!(keeper.counted(&net), ([now.counts.runs, now.counts.failures, 0, 0], Some(code::TRAP.to_owned())));
    assert_eq!((now.counts.runs, now.counts.missed), (now.counts.failures, 0));
}

#[test]
fn a_new_stay_goes_on_with_its_tasks_and_one_whose_callback_is_gone_fails_until_it_is_back() {
    let mut net = Net::new(4);
    let mut keeper = Keeper::new(&mut net);
    let client = net.client();
    let token = net.schedule(client, schedule(None, SUM, Plan::Every(secs(1))));
    net.settle();
    keeper.saves(&mut net);
    let task = net.tasks_of(client, token).unwrap().remove(0);
    net.kill_node(keeper.node);
    net.run(secs(6));
    for (callbacks, wanted) in [
        (vec![(SUM, sum_type())], None),
        (vec![(SUM, text_type())], Some(code::SIGNATURE_MISMATCH)),
        (vec![("x#f", sum_type())], Some(code::NO_SUCH_CALLBACK)),
    ] {
        let tasks = keeper.found(&net);
        let node = net.runtime("keeper", Role::Node, PeerIdentity::Unix { uid: 1, pid: None });
        net.try_add_with(node, "worker", &callbacks, Schedules::Kept(Box::new(tasks))).unwrap();
        net.run(secs(2));
        assert!(net.nodes[node].served.is_empty(), "it ran before it was on the mesh");
        net.dial(node);
        net.run(ms(2500));
        let now = net.ask(client, "worker", TaskOp::Get(task.id.number)).unwrap().remove(0);
        assert!(now.counts.runs > 0 && net.nodes[node].served.is_empty() == wanted.is_some(), "{now:?}");
        assert_eq!(now.last_error.map(|error| error.code).as_deref(), wanted);
        net.command(node, Command::Leave);
        net.settle();
    }
}

#[test]
fn an_answer_that_waits_to_be_written_down_does_not_go_to_another_link() {
    let mut net = Net::new(5);
    let mut keeper = Keeper::new(&mut net);
    let client = net.client();
    let token = net.schedule(client, schedule(None, SUM, Plan::Every(secs(60))));
    net.settle();
    net.cut(keeper.node);
    net.run(secs(3));
    assert_eq!(net.tasks_of(client, token).unwrap_err().outcome, Outcome::Unknown);
    keeper.saves(&mut net);
    assert!(net.closed.iter().all(|reason| reason.contains("cut")), "{:?}", net.closed);
    assert_eq!(net.ask(client, "worker", TaskOp::List(None)).unwrap().len(), 1);
}
