//! The boss: has the worker count, and counts primes meanwhile.

use daffi::{BG, CallError, fetchers, select};

fetchers! {
    /// The number of Fibonacci at this place, by whichever process has it.
    fn fibonacci(n: u32) -> u64 = "demo:background/numbers#fibonacci";
}

fn main() -> Result<(), CallError> {
    // It returns at once, also when the worker is not there yet.
    let number = fibonacci(20) & BG.wait_ready();
    let (mut primes, mut candidate, mut rounds) = (0, 2, 0_u32);
    while number.try_get().is_none() {
        let end = candidate + 10_000;
        primes += (candidate..end).filter(|n| is_prime(*n)).count();
        (candidate, rounds) = (end, rounds + 1);
        // How many there are depends on the machine: the 1st, the 2nd, the 4th … are enough to see.
        if rounds.is_power_of_two() {
            println!("Meanwhile: {primes} primes below {candidate}");
        }
    }
    println!("fibonacci(20) = {}", number.wait()?);

    // Many at a time, and each as it comes.
    let mut numbers: Vec<_> = (1..=5).map(|n| fibonacci(n) & BG).collect();
    while let Some(number) = select(&mut numbers) {
        println!("One more: {}", number?);
    }
    Ok(())
}

fn is_prime(n: u32) -> bool {
    (2..).take_while(|divisor| divisor * divisor <= n).all(|divisor| n % divisor != 0)
}
