//! Imports with streams in their parameters and results.

use super::guest::{Guest, block_on};

#[test]
fn a_guest_gives_a_stream_to_an_import_and_reads_the_one_that_comes_back() {
    block_on(async {
        let mut guest = Guest::new().await;
        let sums = guest
            .run(async |calls| {
                let sum: u64 = calls.ask("callers#exchange", &5000_u64, vec![]).await.unwrap();
                let sync: u64 = calls.ask("callers#exchange-sync", &5000_u64, vec![]).await.unwrap();
                (sum, sync)
            })
            .await
            .unwrap();
        let sent = 4999 * 5000 / 2;
        assert_eq!(sums, (sent + 5, sent + 1000));
    });
}
