//! Data for pages: clusters whose every hour is known, and the JSON of them.

use cc_archiver::coverage_page::cells;
use chrono::{Days, NaiveDate};
use serde_json::{Value, json};

pub const NONE: u8 = 0;
pub const ALL: u8 = 100;
pub const WAITING: u8 = 250;
pub const PARTLY: u8 = 251;
pub const UNKNOWN: u8 = 255;

/// A cluster, all of whose hosts have all samples of all hours at first.
pub struct Cluster {
    pub name: String,
    pub hosts: Vec<String>,
    pub dates: usize,
    pub cells: Vec<u8>,
    pub metrics: Vec<(String, f64)>,
    pub set_aside: Vec<(String, String)>,
}

impl Cluster {
    pub fn new(name: &str, hosts: Vec<String>, dates: usize) -> Self {
        let cells = vec![ALL; hosts.len() * dates * 24];
        let metrics = [("cpu_load", 1.0), ("mem_used", 0.998)].map(|(name, share)| (name.to_owned(), share)).into();
        Self { name: name.to_owned(), hosts, dates, cells, metrics, set_aside: Vec::new() }
    }

    /// Hosts `f0001`, `f0002`, ….
    pub fn numbered(name: &str, hosts: usize, dates: usize) -> Self {
        Self::new(name, (1..=hosts).map(|n| format!("f{n:04}")).collect(), dates)
    }

    pub fn hours(&self) -> usize {
        self.dates * 24
    }

    pub fn cell(&self, host: usize, hour: usize) -> u8 {
        self.cells[host * self.hours() + hour]
    }

    /// Gives these hosts and hours this cell.
    pub fn set(&mut self, hosts: std::ops::Range<usize>, hours: std::ops::Range<usize>, cell: u8) {
        let all = self.hours();
        for host in hosts {
            self.cells[host * all + hours.start..host * all + hours.end].fill(cell);
        }
    }

    /// Some hours with a few samples less, as a scheduler's load makes them: one in `every`.
    pub fn jitter(&mut self, every: u32) {
        let mut random = Random(7);
        for cell in self.cells.iter_mut().filter(|cell| **cell == ALL) {
            if random.below(every) == 0 {
                *cell = [98, 99, 97, 95][random.below(4) as usize];
            }
        }
    }

    pub fn json(&self) -> Value {
        let first = NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date");
        let dates: Vec<String> = (0..self.dates as u64).map(|n| (first + Days::new(n)).to_string()).collect();
        let with_data = |date: usize| {
            let of_host = |host: usize| {
                self.cells[host * self.hours() + date * 24..][..24].iter().filter(|cell| (1..=ALL).contains(*cell)).map(|cell| u64::from(*cell)).sum::<u64>()
            };
            (0..self.hosts.len()).map(of_host).sum::<u64>()
        };
        let rows: Vec<u64> = (0..self.dates).map(|date| with_data(date) * 17).collect();
        let bytes: Vec<u64> = rows.iter().map(|rows| rows * 2).collect();
        let objects: Vec<u64> = rows.iter().map(|rows| rows.div_ceil(60_000_000)).collect();
        let metrics: Vec<Value> = self.metrics.iter().map(|(name, share)| json!({"name": name, "share": share})).collect();
        let set_aside: Vec<Value> = self.set_aside.iter().map(|(path, reason)| json!({"path": path, "reason": reason})).collect();
        json!({
            "name": self.name, "dates": dates, "rows": rows, "bytes": bytes, "objects": objects, "hosts": self.hosts,
            "cells": cells(&self.cells), "metrics": metrics, "set_aside": set_aside,
        })
    }
}

/// The JSON of a page, made `age` hours after the last date of the first cluster.
pub fn json_of(clusters: &[Cluster], age: i64) -> String {
    let midnight = 1_767_225_600; // 2026-01-01
    let made = clusters.first().map_or(midnight, |cluster| midnight + (cluster.hours() as i64 + age) * 3_600);
    json!({"archive": "s3://monitoring/archive", "made": made, "clusters": clusters.iter().map(Cluster::json).collect::<Vec<_>>()}).to_string()
}

/// Numbers that are the same in each run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, most: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % u64::from(most)) as u32
    }
}

/// A cluster with all that can be: late hosts, a dead rack, an outage, a host that was never archived, gaps of an hour. What it has is said by
/// the constants of the tests that use it.
pub fn large(hosts: usize, dates: usize) -> Cluster {
    let mut cluster = Cluster::numbered("fritz", hosts, dates);
    cluster.jitter(40);
    let hours = cluster.hours();
    cluster.set(hosts - hosts / 6..hosts, 0..hours / 3, NONE); // late
    cluster.set(hosts / 3..hosts / 3 + 32, hours * 5 / 6..hours, NONE); // a dead rack
    cluster.set(0..hosts, hours / 2..hours / 2 + 4, NONE); // an outage
    cluster.set(hosts / 2..hosts / 2 + 1, 0..hours, NONE); // never archived
    cluster.set(LONELY.0..LONELY.0 + 1, LONELY.1..LONELY.1 + 1, NONE);
    cluster
}

/// Host and hour of a gap of one hour in [`large`], with nothing near it.
pub const LONELY: (usize, usize) = (7, 1000);
