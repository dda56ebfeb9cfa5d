//! Joining the mesh as an anonymous client: what `call` and `ps` do first.
//!
//! Invariant: a client never hangs on a mesh that is not there: without a controller, and when it loses the one it had,
//! it fails at once, unless it was told to wait, and in every case at its timeout.

use std::future::Future;
use std::time::{Duration, Instant};

use daffi_proto::call::Caller;
use daffi_proto::error::{CallError, Outcome};
use daffi_proto::id::{NodeKey, TenantName};
use daffi_proto::node::NodeConfig;
use daffi_proto::session::{HANDSHAKE_TIMEOUT, Role};
use daffi_proto::share::Import;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::args::ConnectArgs;
use crate::config::network;
use crate::exit::{self, Failure};
use crate::mesh::attention::Attention;
use crate::mesh::driver::Driver;
use crate::mesh::handle::{LinkState, MeshHandle};
use crate::mesh::link::LinkLimits;
use crate::mesh::uplink::{self, Dialing, Order};
use crate::net::dial::{self, Target};
use crate::net::endpoint::{Endpoint, Surroundings};
use crate::net::link::Connection;
use crate::net::stranger::Stranger;

/// Largest payload that a client takes: the limit is the callee's affair.
const MAX_PAYLOAD_BYTES: usize = daffi_proto::frame::MAX_PAYLOAD_BYTES;

/// How long leaving may take: the answer is there, and nobody waits for more.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// How to join, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub enum Joining {
    /// At a controller that is there. One that does not complete the handshake in [`HANDSHAKE_TIMEOUT`] counts as none.
    AtOnce(Duration),
    /// The same, and when the link to it is lost, at one that comes back: for who has time between joining and calling.
    Again(Duration),
    /// At one that may come in this time.
    Patiently(Duration),
}

/// What a client sees beside its own tenant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sight<'a> {
    /// Tenants that it is in too.
    pub also: &'a [TenantName],
    /// What it imports of others.
    pub imports: &'a [Import],
}

/// A client that has joined.
pub struct Client {
    mesh: MeshHandle,
    tenant: TenantName,
    endpoint: Endpoint,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

/// Runs a client's work on a small runtime of its own.
///
/// # Errors
/// What the work gives, or that there are no threads or files left.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(exit::FAILED, format!("cannot start: {error}")))?;
    let done = runtime.block_on(work);
    // A look-up of a host's name that hangs cannot be cancelled, and must not be waited for.
    runtime.shutdown_background();
    done
}

impl Client {
    /// Joins.
    ///
    /// # Errors
    /// Bad endpoints, no controller, or one that refuses us.
    pub async fn join(args: &ConnectArgs, joining: Joining) -> Result<Self, Failure> {
        Self::join_seeing(args, joining, Sight::default()).await
    }

    /// Joins, and sees more than its own tenant.
    ///
    /// # Errors
    /// As [`Client::join`].
    pub async fn join_seeing(args: &ConnectArgs, joining: Joining, sight: Sight<'_>) -> Result<Self, Failure> {
        let started = Instant::now();
        let endpoint = match &args.connect {
            Some(url) => Endpoint::parse(url, args.insecure),
            None => Endpoint::default_socket(&Surroundings::of_this_process()),
        };
        let endpoint = endpoint.map_err(Failure::usage)?;
        let files = args.tls.files();
        network::check(&[], Some(&endpoint), &files).map_err(Failure::usage)?;
        let target = Target::new(endpoint.clone(), &files).map_err(Failure::usage)?;
        let (uplink, dialing) = uplink::channel();
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let limits = LinkLimits::for_payload(MAX_PAYLOAD_BYTES);
        let seed = getrandom::u64().unwrap_or_default();
        let (left, within) = match joining {
            Joining::Patiently(within) => {
                tasks.spawn(dial::run(
                    target,
                    limits,
                    Attention::default(),
                    seed,
                    dialing,
                    tasks.clone(),
                    cancel.clone(),
                ));
                (within, within)
            }
            Joining::AtOnce(within) | Joining::Again(within) => {
                let connected = tokio::time::timeout(within, dial::connect(&target)).await;
                let connection = connected.map_err(|_| no_answer(&endpoint, within))?.map_err(no_controller)?;
                let again = matches!(joining, Joining::Again(_));
                let (spawned, cancel) = (tasks.clone(), cancel.clone());
                tasks.spawn(async move {
                    let once = deliver_once(connection, target.endpoint(), limits, dialing, &spawned, again);
                    let Some(dialing) = once.await else {
                        return;
                    };
                    dial::run(target, limits, Attention::default(), seed, dialing, spawned, cancel).await;
                });
                let left = within.saturating_sub(started.elapsed());
                if left > HANDSHAKE_TIMEOUT { (HANDSHAKE_TIMEOUT, HANDSHAKE_TIMEOUT) } else { (left, within) }
            }
        };
        let tenant = args.tenant.clone().unwrap_or_default();
        let config = NodeConfig {
            seed,
            max_payload_bytes: MAX_PAYLOAD_BYTES,
            tenants: std::iter::once(&tenant).chain(sight.also).cloned().collect(),
            imports: sight.imports.to_vec(),
            ..NodeConfig::new(NodeKey(random_key()?), format!("client-{}", std::process::id()), Role::Client)
        };
        let (mesh, driver) = Driver::new(config, endpoint.to_string(), uplink, tasks.clone());
        tasks.spawn(driver.run(cancel.clone()));
        let client = Self { mesh, tenant, endpoint, tasks, cancel };
        let settled = tokio::time::timeout(left, client.settled()).await;
        settled.map_err(|_| no_answer(&client.endpoint, within))??;
        Ok(client)
    }

    /// The mesh.
    pub fn mesh(&self) -> &MeshHandle {
        &self.mesh
    }

    /// The tenant that it is in.
    pub fn tenant(&self) -> TenantName {
        self.tenant.clone()
    }

    /// Who calls: somebody of that tenant, without a name.
    pub fn caller(&self) -> Caller {
        Caller::Client { tenant: self.tenant() }
    }

    /// Does the work, as long as there is a controller, or may be one again.
    ///
    /// # Errors
    /// What the work gives, or that the controller has gone for good. A call that was under way has ended by then, and
    /// says itself what became of it.
    pub async fn connected<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let mut link = self.mesh.link();
        let gone = async {
            let refused = link.wait_for(|state| matches!(state, LinkState::Refused { .. })).await;
            match refused.map(|state| state.clone()) {
                Ok(LinkState::Refused { message, .. }) => message,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = work => done,
            message = gone => Err(Failure::new(exit::NO_CONTROLLER, message)),
        }
    }

    /// Whether the link still stands: what was asked before is the mesh's own answer then, and not what is left of a replica.
    ///
    /// # Errors
    /// Why it does not.
    pub fn still_up(&self) -> Result<(), Failure> {
        match &*self.mesh.link().borrow() {
            LinkState::Up => Ok(()),
            LinkState::Down { reason } => Err(Failure::new(exit::NO_CONTROLLER, reason)),
            LinkState::Refused { message, .. } => Err(Failure::new(exit::NO_CONTROLLER, message)),
        }
    }

    /// Says goodbye, as well as it can be said in this time.
    pub async fn leave(self, within: Duration) {
        let goodbye = async {
            self.mesh.leave().await;
            self.cancel.cancel();
            self.tasks.close();
            self.tasks.wait().await;
        };
        let _ = tokio::time::timeout(within, goodbye).await;
    }

    /// Resolves when the controller has let the client in, or not.
    async fn settled(&self) -> Result<(), Failure> {
        let mut link = self.mesh.link();
        let settled = link.wait_for(|state| !matches!(state, LinkState::Down { .. })).await;
        match settled.map(|state| state.clone()) {
            Ok(LinkState::Refused { message, .. }) => Err(Failure::new(exit::NO_CONTROLLER, message)),
            Ok(LinkState::Up | LinkState::Down { .. }) => Ok(()),
            Err(_) => Err(Failure::new(exit::FAILED, "the client ended unexpectedly")),
        }
    }
}

/// The error of a client whom nobody answers in time.
fn no_answer(endpoint: &Endpoint, within: Duration) -> Failure {
    Failure::new(exit::NO_CONTROLLER, format!("no controller at {endpoint} answered within {within:?}"))
}

/// The error of a client that finds nobody.
fn no_controller(error: dial::DialError) -> Failure {
    if error.is_passing() {
        let advice = "start one with `daffi-runtime --controller`, or say where it is with --connect";
        Failure::new(exit::NO_CONTROLLER, format!("{error}: {advice}"))
    } else if error.is_refusal() {
        Failure::new(exit::NO_CONTROLLER, error)
    } else {
        Failure::usage(error)
    }
}

/// Gives the driver the link that is there. When it wants another one, whoever comes back may dial; others hear that
/// there is none.
async fn deliver_once(
    connection: Connection,
    endpoint: &Endpoint,
    limits: LinkLimits,
    mut dialing: Dialing,
    tasks: &TaskTracker,
    again: bool,
) -> Option<Dialing> {
    let (mut connection, mut last) = (Some(connection), Stranger::default());
    while let Some(order) = dialing.order().await {
        match (order, connection.take()) {
            (Order::Dial, Some(connection)) => {
                let link;
                (link, last) = Stranger::watch(connection.into_link(limits, tasks));
                dialing.connected(link).await;
                if again {
                    return Some(dialing);
                }
            }
            (Order::Dial, None) => {
                let why = match last.told() {
                    Some(stranger) => format!("{endpoint}: {stranger}"),
                    None => "the controller closed the link".to_owned(),
                };
                dialing.refused(why).await;
            }
            (Order::LinkWasGood, kept) => connection = kept,
        }
    }
    None
}

/// 128 random bits.
///
/// # Errors
/// When the system has none to give.
pub fn random_key() -> Result<[u8; 16], Failure> {
    let mut key = [0; 16];
    getrandom::fill(&mut key)
        .map_err(|error| Failure::new(exit::FAILED, format!("the system gives no random numbers: {error}")))?;
    Ok(key)
}

/// The error of a call, as a line and an exit code.
pub fn call_failure(error: &CallError) -> Failure {
    use daffi_proto::error::code;
    let exit_code = match (error.outcome, error.code.as_str()) {
        (Outcome::NotRun, code::BAD_ARGUMENTS | code::AMBIGUOUS) => exit::USAGE,
        (Outcome::NotRun, code::NOT_CONNECTED) => exit::NO_CONTROLLER,
        (Outcome::NotRun, _) => exit::NOT_RUN,
        (Outcome::Failed, _) => exit::FAILED,
        (Outcome::Unknown, _) => exit::UNKNOWN,
    };
    let outcome = outcome(error.outcome);
    let at = error.process.as_deref().map(|process| format!(" at {process}")).unwrap_or_default();
    let message = format!("{} ({outcome}, {}: {}{at})", error.message, error.code, error.callback);
    Failure::new(exit_code, message)
}

/// The word for whether a callback ran.
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NotRun => "not-run",
        Outcome::Failed => "failed",
        Outcome::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use daffi_proto::error::code;

    use super::*;

    #[test]
    fn the_exit_code_says_whether_the_callback_ran() {
        for (error, exit_code) in [
            (CallError::not_run(code::OVERLOADED, "m", "f"), 3),
            (CallError::not_run(code::BAD_ARGUMENTS, "m", "f"), 2),
            (CallError::not_run(code::AMBIGUOUS, "m", "f"), 2),
            (CallError::not_run(code::NOT_CONNECTED, "m", "f"), 5),
            (CallError::failed(code::TRAP, "m", "f"), 1),
            (CallError::unknown(code::LINK_LOST, "m", "f"), 4),
        ] {
            assert_eq!(call_failure(&error).code, exit_code, "{error:?}");
        }
        let error = CallError::failed(code::TRAP, "it trapped", "math#f").at("server");
        assert_eq!(call_failure(&error).message, "it trapped (failed, trap: math#f at server)");
    }

    #[tokio::test]
    async fn without_a_controller_a_client_fails_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("unix://{}/none.sock", folder.path().display());
        let args = ConnectArgs { connect: Some(url), ..ConnectArgs::default() };
        let failure = Client::join(&args, Joining::AtOnce(Duration::from_secs(60))).await.err().unwrap();
        assert_eq!(failure.code, exit::NO_CONTROLLER);
        assert!(failure.message.contains("none.sock") && failure.message.contains("--controller"), "{failure}");
    }

    #[tokio::test]
    async fn a_client_whose_controller_has_gone_for_good_gives_up_its_work_at_once() {
        let (uplink, mut dialing) = uplink::channel();
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let config = NodeConfig::new(NodeKey([1; 16]), "client", Role::Client);
        let (mesh, driver) = Driver::new(config, String::new(), uplink, tasks.clone());
        tasks.spawn(driver.run(cancel.clone()));
        let endpoint = Endpoint::parse("tcp://127.0.0.1:1", false).unwrap();
        let client = Client { mesh, tenant: TenantName::default(), endpoint, tasks, cancel };
        assert_eq!(client.connected(async { Ok(7) }).await.unwrap(), 7);
        assert_eq!(dialing.order().await, Some(Order::Dial));
        dialing.refused("the controller closed the link".to_owned()).await;
        let failure = client.connected(std::future::pending::<Result<(), Failure>>()).await.unwrap_err();
        assert_eq!((failure.code, failure.message.as_str()), (exit::NO_CONTROLLER, "the controller closed the link"));
    }

    #[tokio::test]
    async fn who_listens_there_and_is_no_controller_is_named_at_once() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        for (answer, why) in [
            (&b"\x15\x03\x03\0\x02\x02\x0a"[..], "what listens there speaks TLS: is it a tls:// address?"),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what listens there is no controller; this looks like HTTP"),
        ] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("tcp://{}", listener.local_addr().unwrap());
            let answering = tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    stream.read_u8().await.unwrap();
                    stream.write_all(answer).await.unwrap();
                    // Until the client has gone, which has not been told anything more.
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }
            });
            let args = ConnectArgs { connect: Some(url.clone()), ..ConnectArgs::default() };
            for joining in [Joining::AtOnce, Joining::Again, Joining::Patiently] {
                let failure = Client::join(&args, joining(Duration::from_secs(60))).await.err().unwrap();
                assert_eq!(failure.code, exit::NO_CONTROLLER);
                assert!(failure.message.starts_with(&format!("{url}: {why}")), "{failure}");
            }
            answering.abort();
        }
    }

    #[tokio::test]
    async fn a_controller_that_does_not_answer_is_given_up_at_the_timeout() {
        // Connections are made, since the system takes them for a listener; nobody says anything on them.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("tcp://{}", silent.local_addr().unwrap());
        let args = ConnectArgs { connect: Some(url.clone()), ..ConnectArgs::default() };
        for joining in [Joining::AtOnce, Joining::Patiently] {
            let failure = Client::join(&args, joining(Duration::from_millis(200))).await.err().unwrap();
            assert_eq!(failure.code, exit::NO_CONTROLLER);
            assert_eq!(failure.message, format!("no controller at {url} answered within 200ms"));
        }
    }
}
