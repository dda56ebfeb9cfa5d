//! Whom a node dials, and what it finds in the folder of sockets.

use super::*;

#[test]
fn only_addresses_of_its_own_kind_are_dialed_and_only_sockets_of_nodes_in_its_own_folder() {
    let unix = DirectAccess::Unix { folder: PathBuf::from("/run/me/daffi") };
    assert!(allowed(&unix, "unix:///run/me/daffi/node-0123456789abcdef.sock").is_some());
    for url in [
        "unix:///run/me/daffi/controller.sock",
        "unix:///run/me/daffi/node-0123.sock",
        "unix:///run/me/daffi/node-0123456789abcde/.sock",
        "unix:///run/me/daffi/../other/node-0123456789abcdef.sock",
        "unix:///run/me/other/node-0123456789abcdef.sock",
        "tcp://127.0.0.1:22",
        "nonsense",
    ] {
        assert_eq!(allowed(&unix, url), None, "{url}");
    }
    let tcp = DirectAccess::Tcp(Endpoint::parse("tcp://127.0.0.1:0", false).unwrap());
    assert!(allowed(&tcp, "tcp://127.0.0.1:8888").is_some());
    for url in ["tcp://192.0.2.1:22", "tls://127.0.0.1:8888", "unix:///run/me/daffi/node-0123456789abcdef.sock"] {
        assert_eq!(allowed(&tcp, url), None, "{url}");
    }
    assert_eq!(allowed(&DirectAccess::Off, "tcp://127.0.0.1:8888"), None);
}

#[tokio::test]
async fn what_a_killed_node_left_is_cleared_away_and_what_others_have_is_not() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let unix = || DirectAccess::Unix { folder: folder.path().to_owned() };
    let left = folder.path().join("node-0000000000000001.sock");
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    std::fs::write(folder.path().join("node-0000000000000001.sock.lock"), "").unwrap();
    let first = DirectListener::bind(unix()).await.unwrap().unwrap();
    let second = DirectListener::bind(unix()).await.unwrap().unwrap();
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|name| name.ends_with(".sock"))
        .map(|path| format!("unix://{path}"))
        .collect();
    names.sort();
    let mut wanted = vec![first.address(), second.address()];
    wanted.sort();
    assert_eq!(names, wanted);
    drop((first, second));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn who_is_reached_off_loopback_dials_no_loopback_address_and_who_is_reached_there_no_other() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let lookups = Arc::new(Semaphore::new(1));
    let dial = async |host: &str, is_local| over_tcp(found(host, port, &lookups).await, is_local).await;
    assert!(dial("127.0.0.1", true).await.is_ok());
    for host in ["127.0.0.1", "localhost", "0.0.0.0", "::ffff:127.0.0.1", "::1", "::"] {
        assert_eq!(dial(host, false).await.unwrap_err(), "it has no address that this node dials", "{host}");
    }
    assert_eq!(dial("192.0.2.1", true).await.unwrap_err(), "it has no address that this node dials");
    assert_eq!(lookups.available_permits(), 1);
}
