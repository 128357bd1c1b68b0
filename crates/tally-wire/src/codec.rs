//! How values stand in arrays. Each shape is said once, in order of its fields, and read and
//! written from there, so that the two directions can't part.

use tally_core::Encoded;

use crate::error::DecodeError;
use crate::reader::{Reader, at_most};
use crate::writer::Writer;
use crate::{Object, read_whole};

/// A value that always has the same shape.
pub(crate) trait Item: Sized {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError>;
    fn write(&self, to: &mut Writer<'_>);
}

/// The shape of a field whose type alone does not say it: its limits, its order.
pub(crate) trait Codec<T> {
    fn read(from: &mut Reader<'_>) -> Result<T, DecodeError>;
    fn write(value: &T, to: &mut Writer<'_>);
}

/// What stands in an object after its kind and version.
pub(crate) trait Fields: Sized {
    /// Never used again for another object.
    const KIND: u64;
    /// Of the shape, from 1.
    const VERSION: u64;
    /// Items after kind and version.
    const COUNT: usize;
    /// Bytes of the whole object at most.
    const LEN_MAX: usize;

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError>;
    fn write_fields(&self, to: &mut Writer<'_>);
}

/// Whether an item may stand before the next one.
pub(crate) trait Ascends {
    fn ascends(&self, next: &Self) -> bool;
}

/// The head of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    /// Which kind of object.
    pub(crate) kind: u64,
    version: u64,
    /// Items after kind and version.
    count: usize,
}

impl Head {
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = from.array()?.checked_sub(2).ok_or(DecodeError::WrongLength("an object"))?;
        Ok(Self { kind: from.number()?, version: from.number()?, count })
    }

    /// Whether it is the head of an object of this shape, which is not larger than it may be.
    pub(crate) fn check<T: Fields>(&self, from: &Reader<'_>) -> Result<(), DecodeError> {
        self.fits(T::KIND, T::VERSION, T::COUNT)?;
        at_most("an object", from.len(), T::LEN_MAX)
    }

    pub(crate) const fn fits(
        &self,
        kind: u64,
        version: u64,
        count: usize,
    ) -> Result<(), DecodeError> {
        if self.kind != kind {
            return Err(DecodeError::UnknownKind(self.kind));
        }
        if self.version != version {
            return Err(DecodeError::UnknownVersion { kind, version: self.version });
        }
        if self.count != count {
            return Err(DecodeError::WrongLength("an object"));
        }
        Ok(())
    }

    pub(crate) fn write(kind: u64, version: u64, count: usize, to: &mut Writer<'_>) {
        to.array(count + 2);
        to.number(kind);
        to.number(version);
    }
}

pub(crate) fn read_object<T: Fields>(from: &mut Reader<'_>) -> Result<T, DecodeError> {
    Head::read(from)?.check::<T>(from)?;
    T::read_fields(from)
}

pub(crate) fn write_object<T: Fields>(value: &T, to: &mut Writer<'_>) {
    Head::write(T::KIND, T::VERSION, T::COUNT, to);
    value.write_fields(to);
}

/// The shape that the type has by itself.
pub(crate) struct Plain;

impl<T: Item> Codec<T> for Plain {
    fn read(from: &mut Reader<'_>) -> Result<T, DecodeError> {
        T::read(from)
    }

    fn write(value: &T, to: &mut Writer<'_>) {
        value.write(to);
    }
}

/// A text of so many bytes.
pub(crate) struct Text<const MIN: usize, const MAX: usize>;

impl<const MIN: usize, const MAX: usize> Codec<String> for Text<MIN, MAX> {
    fn read(from: &mut Reader<'_>) -> Result<String, DecodeError> {
        let text = from.text("a text", MAX)?;
        if text.len() < MIN { Err(DecodeError::WrongLength("a text")) } else { Ok(text.to_owned()) }
    }

    fn write(value: &String, to: &mut Writer<'_>) {
        to.text(value);
    }
}

/// A byte string of so many bytes.
pub(crate) struct Blob<const MIN: usize, const MAX: usize>;

impl<const MIN: usize, const MAX: usize> Codec<Vec<u8>> for Blob<MIN, MAX> {
    fn read(from: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
        let bytes = from.bytes("a byte string", MAX)?;
        if bytes.len() < MIN {
            Err(DecodeError::WrongLength("a byte string"))
        } else {
            Ok(bytes.to_vec())
        }
    }

    fn write(value: &Vec<u8>, to: &mut Writer<'_>) {
        to.bytes(value);
    }
}

/// A list of so many items, in any order.
pub(crate) struct List<const MIN: usize, const MAX: usize, C = Plain>(std::marker::PhantomData<C>);

impl<const MIN: usize, const MAX: usize, T, C: Codec<T>> Codec<Vec<T>> for List<MIN, MAX, C> {
    fn read(from: &mut Reader<'_>) -> Result<Vec<T>, DecodeError> {
        let count = from.array()?;
        at_most("a list", count, MAX)?;
        if count < MIN {
            return Err(DecodeError::WrongLength("a list"));
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(C::read(from)?);
        }
        Ok(items)
    }

    fn write(value: &Vec<T>, to: &mut Writer<'_>) {
        to.array(value.len());
        value.iter().for_each(|item| C::write(item, to));
    }
}

/// A list of so many items that ascend, each once.
pub(crate) struct Ascending<const MIN: usize, const MAX: usize, C = Plain>(
    std::marker::PhantomData<C>,
);

impl<const MIN: usize, const MAX: usize, T, C> Codec<Vec<T>> for Ascending<MIN, MAX, C>
where
    T: Ascends,
    C: Codec<T>,
{
    fn read(from: &mut Reader<'_>) -> Result<Vec<T>, DecodeError> {
        let items = List::<MIN, MAX, C>::read(from)?;
        if items.is_sorted_by(T::ascends) { Ok(items) } else { Err(DecodeError::NotAscending) }
    }

    fn write(value: &Vec<T>, to: &mut Writer<'_>) {
        List::<MIN, MAX, C>::write(value, to);
    }
}

/// `[]` or `[x]`.
pub(crate) struct Optional<C = Plain>(std::marker::PhantomData<C>);

impl<T, C: Codec<T>> Codec<Option<T>> for Optional<C> {
    fn read(from: &mut Reader<'_>) -> Result<Option<T>, DecodeError> {
        match from.array()? {
            0 => Ok(None),
            1 => C::read(from).map(Some),
            _ => Err(DecodeError::WrongLength("an optional item")),
        }
    }

    fn write(value: &Option<T>, to: &mut Writer<'_>) {
        to.array(usize::from(value.is_some()));
        value.iter().for_each(|item| C::write(item, to));
    }
}

impl<T: Item> Item for Option<T> {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Optional::<Plain>::read(from)
    }

    fn write(&self, to: &mut Writer<'_>) {
        Optional::<Plain>::write(self, to);
    }
}

/// An object inside another: a byte string, so that its bytes are exact wherever it goes.
impl<T: Object> Item for Encoded<T> {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = from.bytes("an object", T::LEN_MAX)?;
        Ok(Self::new(read_whole(bytes)?, bytes.to_vec()))
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.bytes(self.bytes());
    }
}

/// The codec of a field: the one that is named, or that of its type.
macro_rules! codec {
    () => {
        $crate::codec::Plain
    };
    ($codec:ty) => {
        $codec
    };
}

/// A struct as an array of its fields.
macro_rules! array {
    ($type:ident { $($field:ident $(: $codec:ty)?),* $(,)? }) => {
        impl $crate::codec::Item for $type {
            fn read(from: &mut $crate::reader::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                const COUNT: usize = [$(stringify!($field)),*].len();
                from.array_of(stringify!($type), COUNT)?;
                Ok(Self {
                    $($field: <$crate::codec::codec!($($codec)?) as $crate::codec::Codec<_>>::read(from)?),*
                })
            }

            fn write(&self, to: &mut $crate::writer::Writer<'_>) {
                to.array([$(stringify!($field)),*].len());
                $(<$crate::codec::codec!($($codec)?) as $crate::codec::Codec<_>>::write(&self.$field, to);)*
            }
        }
    };
}

/// A struct as an object: kind, version, then its fields.
macro_rules! object {
    ($type:ident = $kind:literal, $version:literal, $len_max:expr => {
        $($field:ident $(: $codec:ty)?),* $(,)?
    }) => {
        impl $crate::codec::Fields for $type {
            const KIND: u64 = $kind;
            const VERSION: u64 = $version;
            const COUNT: usize = { let names: &[&str] = &[$(stringify!($field)),*]; names.len() };
            const LEN_MAX: usize = $len_max;

            #[allow(unused_variables, reason = "an object without fields reads nothing")]
            fn read_fields(
                from: &mut $crate::reader::Reader<'_>,
            ) -> Result<Self, $crate::DecodeError> {
                Ok(Self {
                    $($field: <$crate::codec::codec!($($codec)?) as $crate::codec::Codec<_>>::read(from)?),*
                })
            }

            #[allow(unused_variables, reason = "an object without fields writes nothing")]
            fn write_fields(&self, to: &mut $crate::writer::Writer<'_>) {
                $(<$crate::codec::codec!($($codec)?) as $crate::codec::Codec<_>>::write(&self.$field, to);)*
            }
        }

        $crate::codec::whole!($type);
    };
}

/// An object that may also stand alone.
macro_rules! whole {
    ($type:ident) => {
        impl $crate::Object for $type {
            const LEN_MAX: usize = <Self as $crate::codec::Fields>::LEN_MAX;
        }

        impl $crate::sealed::Sealed for $type {
            fn read_object(
                from: &mut $crate::reader::Reader<'_>,
            ) -> Result<Self, $crate::DecodeError> {
                $crate::codec::read_object(from)
            }

            fn write_object(&self, to: &mut $crate::writer::Writer<'_>) {
                $crate::codec::write_object(self, to);
            }
        }
    };
}

/// One of several objects, told apart by their kinds.
macro_rules! choice {
    ($type:ident, $len_max:expr => { $($variant:ident($inner:ty)),* $(,)? }) => {
        impl $crate::Object for $type {
            const LEN_MAX: usize = $len_max;
        }

        impl $crate::sealed::Sealed for $type {
            fn read_object(
                from: &mut $crate::reader::Reader<'_>,
            ) -> Result<Self, $crate::DecodeError> {
                use $crate::codec::Fields;
                let head = $crate::codec::Head::read(from)?;
                match head.kind {
                    $(<$inner as Fields>::KIND => {
                        head.check::<$inner>(from)?;
                        <$inner as Fields>::read_fields(from).map(|inner| Self::$variant(inner.into()))
                    })*
                    unknown => Err($crate::DecodeError::UnknownKind(unknown)),
                }
            }

            fn write_object(&self, to: &mut $crate::writer::Writer<'_>) {
                match self {
                    $(Self::$variant(inner) => $crate::codec::write_object::<$inner>(inner, to),)*
                }
            }
        }
    };
}

/// An enum as a number.
macro_rules! numbers {
    ($type:ident, $what:literal => { $($variant:ident = $number:literal),* $(,)? }) => {
        impl $crate::codec::Item for $type {
            fn read(from: &mut $crate::reader::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                match from.number()? {
                    $($number => Ok(Self::$variant),)*
                    _ => Err($crate::DecodeError::UnknownNumber($what)),
                }
            }

            fn write(&self, to: &mut $crate::writer::Writer<'_>) {
                to.number(match self { $(Self::$variant => $number,)* });
            }
        }
    };
}

/// Order within lists: when an item may stand before the next one.
macro_rules! ascends {
    ($($type:ty: |$item:ident, $next:ident| $ascends:expr;)*) => {
        $(impl $crate::codec::Ascends for $type {
            fn ascends(&self, next: &Self) -> bool {
                let ($item, $next) = (self, next);
                $ascends
            }
        })*
    };
}

pub(crate) use {array, ascends, choice, codec, numbers, object, whole};
