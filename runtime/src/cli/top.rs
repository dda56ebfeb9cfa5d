//! `daffi-runtime top`: what processes do and use, as it happens.
//!
//! ```text
//!   list, each interval ──▶ Window ──▶ rows (what changed within it) ──▶ view ──▶ screen, or stdout
//! ```
//! Nothing of it asks a process: what is shown is what nodes tell the controller, so that looking costs guests nothing.

mod rows;
mod screen;
mod view;

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io::IsTerminal;
use std::task::Poll;
use std::time::{Duration, Instant};

use daffi_proto::call::{Detail, ProcessInfo};
use daffi_proto::id::TenantName;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use self::rows::{Row, Window, rows, totals};
use self::screen::{Key, Screen, keys};
use self::view::{Choice, View};
use super::args::TopArgs;
use super::client::{self, Client, Joining, LEAVE_TIMEOUT, Sight, call_failure};
use super::stdout::print;
use super::table::table;
use super::usage::UsageJson;
use crate::exit::{self, Failure};
use crate::mesh::handle::LinkState;

/// How long joining may take.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Shows what is going on until it is told to stop, or once.
///
/// # Errors
/// No controller, or no terminal to be had.
pub fn run(args: &TopArgs) -> Result<(), Failure> {
    let sight = Sight { also: &args.also, ..Sight::default() };
    client::block_on(async {
        let client = Client::join_seeing(&args.connect, Joining::Again(JOIN_TIMEOUT), sight).await?;
        let shown = if args.once || args.json || !std::io::stdout().is_terminal() {
            client.connected(once(&client, args)).await
        } else {
            follow(&client, args).await
        };
        client.leave(LEAVE_TIMEOUT).await;
        shown
    })
}

/// The tenants that are looked at.
fn tenants<'a>(own: &'a TenantName, also: &'a [TenantName]) -> BTreeSet<&'a TenantName> {
    std::iter::once(own).chain(also).collect()
}

/// The processes of all tenants that are looked at.
async fn look(client: &Client, also: &[TenantName]) -> Result<Vec<ProcessInfo>, Failure> {
    let mut all = Vec::new();
    let own = client.tenant();
    for tenant in tenants(&own, also) {
        let processes = client.mesh().processes_in_detail(tenant.clone(), Detail::Usage).await;
        all.extend(processes.map_err(|error| call_failure(&error))?);
    }
    Ok(all)
}

/// Looks twice, and prints what was between.
async fn once(client: &Client, args: &TopArgs) -> Result<(), Failure> {
    let mut window = Window::default();
    window.add(Instant::now(), look(client, &args.also).await?);
    tokio::time::sleep(args.interval).await;
    window.add(Instant::now(), look(client, &args.also).await?);
    let mut rows = rows(&window);
    Choice::default().sort(&mut rows);
    let own = client.tenant();
    let totals = totals(&rows, &tenants(&own, &args.also));
    let text = match args.json {
        true => as_json(&rows, &totals),
        false => table(&view::cells(&rows, &totals)).join("\n") + "\n",
    };
    print(&text).map(drop)
}

/// Shows it on the terminal until a key or a signal ends it.
async fn follow(client: &Client, args: &TopArgs) -> Result<(), Failure> {
    let no_terminal = |error| Failure::new(exit::FAILED, format!("the terminal cannot be used: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(no_terminal)?;
    let mut screen = Screen::open().map_err(no_terminal)?;
    let mut keys = keys();
    let mut ticks = interval(args.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut window, mut choice) = (Window::default(), Choice::default());
    let link = client.mesh().link();
    let own = client.tenant();
    let tenants = tenants(&own, &args.also);
    // The look that is under way: a controller that does not answer keeps no key waiting.
    let mut looking: Option<LocalBoxFuture<'_, _>> = None;
    // Why the last look failed, if it did: the link may have been lost meanwhile.
    let mut failed = None;
    loop {
        tokio::select! {
            _ = ticks.tick(), if looking.is_none() => {
                // Without a link there is nothing new, and what was is left on the screen.
                looking = (*link.borrow() == LinkState::Up).then(|| look(client, &args.also).boxed_local());
            }
            looked = poll_fn(|context| match &mut looking {
                Some(look) => look.as_mut().poll(context),
                None => Poll::Pending,
            }) => {
                looking = None;
                match looked {
                    Ok(processes) => {
                        window.add(Instant::now(), processes);
                        failed = None;
                    }
                    Err(failure) => failed = Some(failure.to_string()),
                }
            }
            key = keys.recv() => match key {
                Some(Key::Quit) | None => return Ok(()),
                Some(key) => choice.press(key),
            },
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        }
        let trouble = match &*link.borrow() {
            LinkState::Up => failed.clone(),
            LinkState::Down { reason } => Some(format!("no controller: {reason}; waiting for one")),
            LinkState::Refused { message, .. } => return Err(Failure::new(exit::NO_CONTROLLER, message)),
        };
        let mut rows = rows(&window);
        choice.sort(&mut rows);
        let totals = totals(&rows, &tenants);
        let view = View { rows: &rows, totals: &totals, choice: &choice, trouble: trouble.as_deref() };
        // A terminal that has gone is the end.
        if screen.draw(|frame| frame.render_widget(&view, frame.area())).is_err() {
            return Ok(());
        }
    }
}

/// A row in JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct RowJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<&'a str>,
    tenant: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    in_flight: u64,
    calls_per_second: f64,
    failures_per_second: f64,
    processors: f64,
    /// What was used since the first look.
    since: UsageJson<'a>,
    /// What was used in all.
    usage: UsageJson<'a>,
}

impl<'a> From<&'a Row> for RowJson<'a> {
    fn from(row: &'a Row) -> Self {
        Self {
            process: row.process.as_deref(),
            tenant: &row.tenant,
            node: row.process.as_ref().map(|_| row.node.as_str()),
            in_flight: row.in_flight,
            calls_per_second: row.calls_per_second,
            failures_per_second: row.failures_per_second,
            processors: row.processors,
            since: (&row.since).into(),
            usage: (&row.all).into(),
        }
    }
}

/// All of it in JSON.
#[derive(Serialize)]
struct Json<'a> {
    processes: Vec<RowJson<'a>>,
    tenants: Vec<RowJson<'a>>,
}

fn as_json(rows: &[Row], totals: &[Row]) -> String {
    let json = Json {
        processes: rows.iter().map(RowJson::from).collect(),
        tenants: totals.iter().map(RowJson::from).collect(),
    };
    // Nothing in it can fail to be JSON.
    serde_json::to_string_pretty(&json).unwrap_or_default() + "\n"
}
