//! Turns of guests, and in which threads they go on.

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::*;
use crate::guest::threads::{interrupted, note_awaited};

/// Both sides, the tasks on them, and the runtimes of the network and the guests, a thread each of that name.
fn sides() -> (Threads, TaskTracker, [tokio::runtime::Runtime; 2]) {
    let both = ["network", "guests"]
        .map(|name| tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name(name).build().unwrap());
    let tasks = TaskTracker::new();
    let [network, guests] = both.each_ref().map(|runtime| runtime.handle().clone());
    (Threads::new(network, guests, tasks.clone()), tasks, both)
}

fn stand(share: &Arc<Share>) -> Stand {
    let threads = Threads::new(Handle::current(), Handle::current(), TaskTracker::new());
    share.stand(Arc::default(), Arc::new(Heat::new(Instant::now())), threads)
}

#[tokio::test]
async fn a_guest_that_waits_is_woken_when_a_turn_ends_and_one_that_has_gone_holds_no_place() {
    let fair = Fair::new(1);
    let (one, other) = (fair.add(Portion::default()), fair.add(Portion::default()));
    let mut cx = Context::from_waker(Waker::noop());
    let (mut first, second) = (stand(&one), stand(&other));
    // While the first has its turn, the second asks for one. It waits, since it is not behind.
    let mut second = Box::pin(second.run(async { 2 }));
    let polled = first.poll(&mut cx, |cx| Poll::Ready(second.poll_unpin(cx)));
    assert!(matches!(polled, Poll::Ready(Poll::Pending)));
    // Now it has been given the place; the first one has to wait.
    assert!(first.poll(&mut cx, |_| Poll::Ready(())).is_pending());
    drop(second);
    assert!(first.poll(&mut cx, |_| Poll::Ready(())).is_ready());
}

#[test]
fn a_guest_that_takes_long_in_the_networks_thread_goes_on_in_the_guests() {
    let (threads, tasks, [_network, guests]) = sides();
    let share = Share::alone();
    let stand = share.stand(Arc::default(), Arc::new(Heat::new(Instant::now())), threads.clone());
    let others = share.shared.clone();
    let (tell, polls) = std::sync::mpsc::channel();
    let guest = poll_fn(move |cx| {
        let began = Instant::now();
        while began.elapsed() < QUICK {}
        let _ = tell.send(std::thread::current().name().map(str::to_owned));
        others.alone.runs(DESK, others.time(Instant::now()));
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    threads.roam(Side::Network, async move {
        tokio::select! { () = stopped.cancelled() => {}, () = stand.run(guest) => {} }
    });
    // It does not wait, so it does not come back either.
    let seen: Vec<_> = polls.iter().take(4).map(Option::unwrap_or_default).collect();
    assert_eq!(seen, ["network", "guests", "guests", "guests"]);
    stop.cancel();
    tasks.close();
    guests.block_on(tasks.wait());
}

#[test]
fn a_guest_beside_nobody_waits_for_many_answers_in_the_networks_thread() {
    let (threads, tasks, [_network, guests]) = sides();
    let share = Share::alone();
    let stand = share.stand(Arc::default(), Arc::new(Heat::new(Instant::now())), threads.clone());
    let (tell, polls) = std::sync::mpsc::sync_channel(0);
    let guest = poll_fn(move |cx| {
        note_awaited(FEW_ANSWERS + 1);
        let ends = tell.send(std::thread::current().name().map(str::to_owned)).is_err();
        cx.waker().wake_by_ref();
        if ends { Poll::Ready(()) } else { Poll::Pending }
    });
    threads.roam(Side::Network, async move { stand.run(guest).await });
    let mut seen = polls.iter().map(Option::unwrap_or_default);
    let mut is_seen_in = |thread: &str| (0..1_000_000).find(|_| seen.next().unwrap() == thread).unwrap();
    // At first nobody knows whether there are others.
    is_seen_in("guests");
    is_seen_in("network");
    share.ran_in_driver(Duration::ZERO, Instant::now());
    is_seen_in("guests");
    is_seen_in("network");
    drop(polls);
    tasks.close();
    guests.block_on(tasks.wait());
}

#[test]
fn a_guest_is_quick_while_it_computes_little_and_waits_for_few_answers() {
    assert!(goes_on_in_network(Duration::ZERO, false) && !goes_on_in_network(QUICK, false));
    note_awaited(FEW_ANSWERS);
    assert!(goes_on_in_network(Duration::ZERO, false));
    note_awaited(FEW_ANSWERS + 1);
    assert!(!goes_on_in_network(Duration::ZERO, false));
    interrupted();
    assert!(!goes_on_in_network(Duration::ZERO, false));
    assert!(goes_on_in_network(Duration::ZERO, false), "what was told is of that poll alone");
    // Beside nobody, it may be many, for longer.
    note_awaited(FEW_ANSWERS + 1);
    assert!(goes_on_in_network(QUICK, true) && !goes_on_in_network(QUICK_ALONE, true));
    interrupted();
    assert!(!goes_on_in_network(Duration::ZERO, true));
}

#[tokio::test]
async fn an_allowance_that_was_used_up_flows_in_again() {
    let fair = Fair::new(1);
    let share = fair.add(Portion { cpu_millis: Some(500), ..Portion::default() });
    let cancel = CancellationToken::new();
    let keeper = tokio::spawn(fair.clone().keep(cancel.clone()));
    let now = Instant::now();
    share.ran_in_driver(Duration::from_millis(70), now);
    assert!(!share.may_run_in_driver(now) && share.may_run_in_driver(now + Duration::from_millis(41)));
    // It resolves at all only if the keeper wakes it.
    let polls = std::cell::Cell::new(0);
    let count = poll_fn(|_| {
        polls.set(polls.get() + 1);
        Poll::Ready(())
    });
    assert_eq!(stand(&share).run(count).now_or_never(), None);
    stand(&share).run(async {}).await;
    cancel.cancel();
    keeper.await.unwrap();
}
