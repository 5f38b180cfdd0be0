//! Inputs made from others: no more than what finds the usual slips, lengths above all.

/// Inputs grow no longer than this.
const INPUT_BYTES_MAX: usize = 8 << 10;
/// Numbers at which things change.
const NUMBERS: [u64; 14] =
    [0, 1, 7, 9, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_fffe, 0xffff_ffff, 1 << 40, i64::MAX as u64, u64::MAX];

/// Makes inputs from a corpus. The same seed and corpus give the same inputs.
#[derive(Clone, Debug)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// The course that begins with `seed`.
    pub fn new(seed: u64) -> Self {
        Mutator { state: seed ^ 0x9e37_79b9_7f4a_7c15 }
    }

    /// G. Steele, D. Lea, C. Flood: SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// One of `corpus`, changed in a few places, perhaps with a piece of another.
    pub fn input(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus.get(self.below(corpus.len())).cloned().unwrap_or_default();
        for _ in 0..1 << self.below(5) {
            self.change(&mut input, corpus);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let length = 1 + self.below(16.min(input.len() + 1));
        let end = (at + length).min(input.len());
        match self.below(9) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.next() as u8,
            2 => drop(input.drain(at..end)),
            3 => {
                let bytes: Vec<u8> = (0..length).map(|_| self.next() as u8).collect();
                input.splice(at..at, bytes);
            }
            4 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece.repeat(1 + self.below(4)));
            }
            5 => self.number(input, at),
            6 => self.decimal(input),
            7 => {
                let Some(other) = corpus.get(self.below(corpus.len())) else { return };
                let from = self.below(other.len() + 1);
                let to = (from + 1 + self.below(64)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
            _ => input.truncate(at),
        }
    }

    /// A number of some width in place of what is there.
    fn number(&mut self, input: &mut [u8], at: usize) {
        let number = NUMBERS[self.below(NUMBERS.len())].wrapping_add(self.below(3) as u64).wrapping_sub(1);
        let bytes = if self.below(4) == 0 { number.to_be_bytes() } else { number.to_le_bytes() };
        let width = 1 << self.below(4);
        let from = if self.below(4) == 0 { 8 - width } else { 0 };
        for (place, byte) in input.iter_mut().skip(at).zip(&bytes[from..from + width]) {
            *place = *byte;
        }
    }

    /// A number in decimal in place of one that is there.
    fn decimal(&mut self, input: &mut Vec<u8>) {
        let from = self.below(input.len() + 1);
        let Some(start) = input[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else { return };
        let length = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = NUMBERS[self.below(NUMBERS.len())];
        let text = if self.below(4) == 0 { format!("-{number}") } else { number.to_string() };
        input.splice(start..start + length, text.into_bytes());
    }
}
