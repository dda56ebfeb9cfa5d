//! Writes readings to a call that is under way, and prints what it returns.

use futures::future::join;

wit_bindgen::generate!({ world: "sensor", path: "../wit", generate_all });

use demo::weather::statistics::average;

struct Sensor;

impl exports::wasi::cli::run::Guest for Sensor {
    async fn run() -> Result<(), ()> {
        let (mut readings, reader) = wit_stream::new();
        // The call returns when the stream has ended: both go on together.
        let write = async move {
            for reading in [18.5, 19.0, 21.5, 21.0] {
                if readings.write_one(reading).await.is_some() {
                    break; // nobody reads any more
                }
            }
            // The writer is dropped here, which ends the stream.
        };
        let (average, ()) = join(average(reader), write).await;
        println!("Average = {average}");
        Ok(())
    }
}

export!(Sensor);
