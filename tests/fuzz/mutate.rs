//! Inputs out of seeds: a few random edits each.

/// The longest input; a target that must see longer ones makes them itself.
const LONGEST: usize = 64 * 1024;

/// Numbers at which parsers slip.
const NUMBERS: [&[u8]; 10] = [
    b"0",
    b"-1",
    b"4294967295",
    b"4294967296",
    b"18446744073709551615",
    b"18446744073709551616",
    b"ffffffffffffffff",
    &[0xff; 4],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
    &[0x7f, 0xff, 0xff, 0xff],
];

/// Makes inputs, the same ones for the same seed.
pub struct Mutator<'a> {
    state: u64,
    seeds: &'a [Vec<u8>],
}

impl<'a> Mutator<'a> {
    /// A mutator of these seeds, at least one.
    pub fn new(seed: u64, seeds: &'a [Vec<u8>]) -> Self {
        Self { state: seed | 1, seeds }
    }

    /// The next input.
    pub fn next(&mut self) -> Vec<u8> {
        let mut input = self.seed().to_vec();
        for _ in 0..=self.below(6) {
            self.edit(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    /// xorshift64*: good enough to choose edits, and the same everywhere.
    fn random(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.random() >> 16) as usize % limit.max(1)
    }

    fn seed(&mut self) -> &'a [u8] {
        let at = self.below(self.seeds.len());
        &self.seeds[at]
    }

    /// A piece of a seed, mostly short.
    fn piece(&mut self) -> &'a [u8] {
        let seed = self.seed();
        let start = self.below(seed.len());
        let limit = if self.below(4) == 0 { seed.len() } else { 24 };
        let length = self.below((seed.len() - start).min(limit) + 1);
        &seed[start..start + length]
    }

    fn edit(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let end = (at + self.below(16)).min(input.len());
        match self.below(9) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.random() as u8,
            2 => drop(input.drain(at..end)),
            3 => {
                let byte = self.random() as u8;
                input.insert(at, byte);
            }
            4 => {
                let piece = self.piece().to_vec();
                input.splice(at..at, piece);
            }
            5 => {
                let piece = self.piece().to_vec();
                input.splice(at..end, piece);
            }
            6 => {
                let number = NUMBERS[self.below(NUMBERS.len())];
                input.splice(at..end, number.iter().copied());
            }
            7 => {
                let again = input[at..end].repeat(1 + self.below(8));
                input.splice(at..at, again);
            }
            _ => input.truncate(at),
        }
    }
}
