//! The bench: every fault many times, and the table. `make faults` runs it.
//!
//! | variable | meaning | without it |
//! | --- | --- | --- |
//! | `MASKD_FAULTS` | names of faults, with spaces between | all |
//! | `MASKD_REPEATS` | how often each | 20 |
//! | `MASKD_FAULTS_TABLE` | the file whose rows are replaced | rows are printed only |

use std::{collections::BTreeMap, path::Path};

use super::{
    fault::{Scale, all},
    table,
};

#[test]
#[ignore = "minutes of measuring: make faults"]
fn the_table() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default().trim().to_owned();
    let wanted = variable("MASKD_FAULTS");
    let wanted: Vec<&str> = wanted.split_whitespace().collect();
    let repeats = variable("MASKD_REPEATS").parse().unwrap_or(Scale::BENCH.repeats);
    let faults = all();
    for name in &wanted {
        assert!(faults.iter().any(|fault| fault.name == *name), "no fault is named {name:?}");
    }
    let path = variable("MASKD_FAULTS_TABLE");
    for fault in faults.iter().filter(|fault| wanted.is_empty() || wanted.contains(&fault.name)) {
        let outcomes = (fault.run)(Scale { repeats, ..Scale::BENCH });
        let row = table::row(fault, &outcomes);
        println!("{row}");
        // At once: a run that is cut short leaves what it has.
        if !path.is_empty() {
            table::merge(Path::new(&path), &faults, &BTreeMap::from([(fault.name, row)]));
        }
    }
}
