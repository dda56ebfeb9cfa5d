//! What a handle does where the driver does not keep up.

use super::*;

#[test]
fn a_load_that_finds_no_room_is_to_be_told_again_and_one_that_nobody_hears_is_not() {
    let (_states, link) = watch::channel(LinkState::Up);
    let (mesh, mut asks) = MeshHandle::new(Instant::now(), link);
    let told = |times: usize| (0..times).filter(|_| mesh.load(LocalId(0), Load::default())).count();
    assert_eq!(told(MAX_QUEUED_REQUESTS + 1), MAX_QUEUED_REQUESTS);
    assert!(asks.requests.try_recv().is_ok());
    assert_eq!(told(2), 1);
    drop(asks);
    assert_eq!(told(1), 1);
}
