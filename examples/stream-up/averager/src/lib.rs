//! Averages readings as they come, and keeps none of them.

wit_bindgen::generate!({ world: "averager", path: "../wit", generate_all });

use wit_bindgen::StreamReader;

struct Averager;

impl exports::demo::weather::statistics::Guest for Averager {
    async fn average(mut readings: StreamReader<f64>) -> f64 {
        let (mut sum, mut count) = (0.0, 0.0);
        while let Some(reading) = readings.next().await {
            sum += reading;
            count += 1.0;
        }
        if count > 0.0 { sum / count } else { 0.0 }
    }
}

export!(Averager);
