//! Cells of the KV cache, counted: how many there are left, and who shares them.
#![forbid(unsafe_code)]

/// Counts how many sequences each cell belongs to.
pub(super) struct Cells {
    /// As many as were ever in use at once.
    owners: Vec<u16>,
    free: Vec<u32>,
    limit: usize,
}

impl Cells {
    pub(super) fn new(limit: u32) -> Self {
        Self { owners: Vec::new(), free: Vec::new(), limit: limit as usize }
    }

    /// Cells there are.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Cells that were ever in use at once; their numbers are below this.
    pub(super) fn ever_used(&self) -> usize {
        self.owners.len()
    }

    pub(super) fn is_shared(&self, cell: u32) -> bool {
        self.owners[cell as usize] > 1
    }

    /// Cells that nobody has.
    pub(super) fn left(&self) -> usize {
        self.limit - self.owners.len() + self.free.len()
    }

    pub(super) fn take(&mut self) -> u32 {
        debug_assert!(self.left() > 0, "reserved before");
        let cell = self.free.pop().unwrap_or_else(|| {
            self.owners.push(0);
            (self.owners.len() - 1) as u32
        });
        self.owners[cell as usize] = 1;
        cell
    }

    pub(super) fn share(&mut self, cells: &[u32]) {
        for &cell in cells {
            self.owners[cell as usize] += 1;
        }
    }

    pub(super) fn give_back(&mut self, cells: impl Iterator<Item = u32>) {
        for cell in cells {
            let owners = &mut self.owners[cell as usize];
            *owners -= 1;
            if *owners == 0 {
                self.free.push(cell);
            }
        }
    }
}
