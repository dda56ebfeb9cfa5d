//! Tests of taking an address: locks, stale sockets, modes, and who is let in.

use super::*;
use crate::net::dial::{self, Target};

fn at(folder: &Path) -> Endpoint {
    Endpoint::Unix { path: folder.join("daffi").join("c.sock"), private_folder: true }
}

async fn bind(endpoint: &Endpoint) -> Result<Listener, ListenError> {
    Listener::bind(endpoint, &TlsFiles::default()).await
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("daffi")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn the_folder_and_the_socket_are_private_and_the_files_go_with_the_listener() {
    let folder = tempfile::tempdir().unwrap();
    let listener = bind(&at(folder.path())).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("daffi")), 0o700);
    assert_eq!(mode(&folder.path().join("daffi/c.sock")), 0o600);
    drop(listener);
    assert!(files(folder.path()).is_empty());
}

#[tokio::test]
async fn a_second_controller_is_told_that_the_socket_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let first = bind(&at(folder.path())).await.unwrap();
    let error = bind(&at(folder.path())).await.unwrap_err().to_string();
    assert!(error.contains("is in use"), "{error}");
    assert_eq!(files(folder.path()).len(), 2, "the first one's files are untouched");
    drop(first);
    bind(&at(folder.path())).await.unwrap();
}

#[tokio::test]
async fn what_a_killed_controller_left_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("daffi")).unwrap();
    std::fs::set_permissions(folder.path().join("daffi"), std::fs::Permissions::from_mode(0o700)).unwrap();
    // A socket file without a listener, and a lock file without a lock.
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("daffi/c.sock")).unwrap());
    std::fs::write(folder.path().join("daffi/c.sock.lock"), b"").unwrap();
    let listener = bind(&at(folder.path())).await.unwrap();
    let (sender, mut accepted) = mpsc::channel(1);
    let cancel = CancellationToken::new();
    let accepting = listener.run(sender, Arc::new(Semaphore::new(1)), cancel.clone());
    let connecting = async {
        dial::connect(&Target::plain(at(folder.path()))).await.unwrap();
        let uid = rustix::process::getuid().as_raw();
        assert!(
            matches!(accepted.recv().await.unwrap().identity, PeerIdentity::Unix { uid: theirs, .. } if theirs == uid)
        );
        cancel.cancel();
    };
    tokio::join!(accepting, connecting);
}

#[tokio::test]
async fn a_file_and_a_foreign_socket_at_the_path_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let endpoint = Endpoint::Unix { path: path.clone(), private_folder: false };
    std::fs::write(&path, b"precious").unwrap();
    assert!(matches!(bind(&endpoint).await, Err(ListenError::NotASocket { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    std::fs::remove_file(&path).unwrap();
    let _foreign = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(matches!(bind(&endpoint).await, Err(ListenError::InUse { .. })));
    assert!(path.exists());
}

#[tokio::test]
async fn a_named_socket_is_not_put_where_everybody_could_replace_it_and_nothing_is_left_there() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::Unix { path: folder.path().join("c.sock"), private_folder: false };
    let set = |mode| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    set(0o777);
    let error = bind(&endpoint).await.unwrap_err().to_string();
    assert!(error.contains("can be written to by everybody") && !error.contains("--listen"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    set(0o1777);
    bind(&endpoint).await.unwrap();
}

#[tokio::test]
async fn a_port_that_the_system_chose_is_told() {
    let listener = bind(&Endpoint::parse("tcp://127.0.0.1:0", false).unwrap()).await.unwrap();
    assert!(matches!(listener.endpoint(), Endpoint::Tcp { port, .. } if *port != 0));
    let again = bind(listener.endpoint()).await.unwrap_err();
    assert!(matches!(again, ListenError::InUse { .. }), "{again}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let listener = bind(&Endpoint::parse("tcp://127.0.0.1:0", false).unwrap()).await.unwrap();
    let target = Target::plain(listener.endpoint().clone());
    let (sender, mut accepted) = mpsc::channel(4);
    let cancel = CancellationToken::new();
    let accepting = listener.run(sender, Arc::new(Semaphore::new(1)), cancel.clone());
    let connecting = async {
        let _one = dial::connect(&target).await.unwrap();
        let _two = dial::connect(&target).await.unwrap();
        let first = accepted.recv().await.unwrap();
        tokio::task::yield_now().await;
        assert!(accepted.try_recv().is_err());
        drop(first);
        accepted.recv().await.unwrap();
        cancel.cancel();
    };
    tokio::join!(accepting, connecting);
}
