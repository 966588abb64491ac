//! Lists that mostly have one element, in the room of one.

use smallvec::SmallVec;

/// A few values in order, each once. Most lists have none or one, and there are many lists: sixteen bytes each.
#[derive(Default)]
pub(crate) enum Few<T> {
    #[default]
    None,
    One(T),
    More(Box<SmallVec<[T; 4]>>),
}

impl<T: Copy + Ord> Few<T> {
    /// The values, sorted.
    pub(crate) fn new(values: impl IntoIterator<Item = T>) -> Self {
        let mut values: SmallVec<[T; 4]> = values.into_iter().collect();
        values.sort_unstable();
        values.dedup();
        Self::of(values)
    }

    fn of(mut values: SmallVec<[T; 4]>) -> Self {
        match values[..] {
            [] => Self::None,
            [only] => Self::One(only),
            _ => {
                values.shrink_to_fit();
                Self::More(Box::new(values))
            }
        }
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Self::None => &[],
            Self::One(only) => std::slice::from_ref(only),
            Self::More(values) => values,
        }
    }

    pub(crate) fn insert(&mut self, value: T) {
        let Err(place) = self.as_slice().binary_search(&value) else { return };
        match self {
            Self::None => *self = Self::One(value),
            Self::One(other) => *self = Self::new([*other, value]),
            Self::More(values) => values.insert(place, value),
        }
    }

    pub(crate) fn remove(&mut self, value: T) {
        let Ok(place) = self.as_slice().binary_search(&value) else { return };
        match self {
            Self::None | Self::One(_) => *self = Self::None,
            Self::More(values) => {
                values.remove(place);
                *self = Self::of(std::mem::take(values));
            }
        }
    }
}

/// Makes room for one more element. Twice as much as before would leave up to half unused, in tables that are large once
/// and then stay as they are.
pub(crate) fn reserve<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 4 + 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small() {
        assert_eq!(size_of::<Few<u32>>(), 16);
        assert_eq!(size_of::<Few<crate::edges::Node>>(), 16);
        assert_eq!(size_of::<crate::edges::Readers>(), 16);
    }

    #[test]
    fn it_is_sorted_and_has_each_value_once() {
        let mut few = Few::default();
        for value in [5, 3, 9, 3, 1, 7, 5] {
            few.insert(value);
        }
        assert_eq!(few.as_slice(), [1, 3, 5, 7, 9]);
        assert_eq!(Few::new([9, 7, 9, 1]).as_slice(), [1, 7, 9]);
        for value in [3, 4, 9, 1, 7] {
            few.remove(value);
        }
        assert!(matches!(few, Few::One(5)));
        few.remove(5);
        assert!(few.as_slice().is_empty());
    }
}
