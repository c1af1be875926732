//! From the validator's types to the types of values between hosts. What is no value (resources,
//! streams, futures) gives `None`, and with it the whole function.

use lattice_protocol::value::{Case, Field, Signature, Type};
use std::collections::BTreeMap;
use wasmparser::PrimitiveValType;
use wasmparser::component_types::{
    ComponentDefinedType, ComponentEntityType, ComponentFuncTypeId, ComponentInstanceTypeId, ComponentValType,
};
use wasmparser::types::TypesRef;

/// Deepest type that is followed; the validator allows more than a person can read.
const MAX_DEPTH: usize = 64;

/// Reads types of one component.
pub struct Reader<'t> {
    types: TypesRef<'t>,
}

impl<'t> Reader<'t> {
    /// Of these types.
    pub fn new(types: TypesRef<'t>) -> Self {
        Self { types }
    }

    /// Functions of an instance.
    pub fn functions(&self, id: ComponentInstanceTypeId) -> BTreeMap<String, Option<Signature>> {
        let Some(instance) = self.types.get(id) else { return BTreeMap::new() };
        instance
            .exports
            .iter()
            .filter_map(|(name, item)| match item.ty {
                ComponentEntityType::Func(function) => Some((name.clone(), self.signature(function))),
                _ => None,
            })
            .collect()
    }

    fn signature(&self, id: ComponentFuncTypeId) -> Option<Signature> {
        let function = self.types.get(id)?;
        let params = function
            .params
            .iter()
            .map(|(name, ty)| Some((name.to_string(), self.value(ty, 0)?)))
            .collect::<Option<Vec<_>>>()?;
        let results = function.result.iter().map(|ty| self.value(ty, 0)).collect::<Option<Vec<_>>>()?;
        Some(Signature { params, results })
    }

    fn value(&self, ty: &ComponentValType, depth: usize) -> Option<Type> {
        if depth > MAX_DEPTH {
            return None;
        }
        let inner = |ty: &ComponentValType| self.value(ty, depth + 1);
        let id = match ty {
            ComponentValType::Primitive(primitive) => return self::primitive(*primitive),
            ComponentValType::Type(id) => *id,
        };
        Some(match self.types.get(id)? {
            ComponentDefinedType::Primitive(primitive) => self::primitive(*primitive)?,
            ComponentDefinedType::Record(record) => Type::Record(
                record
                    .fields
                    .iter()
                    .map(|(name, ty)| Some(Field { name: name.to_string(), ty: inner(ty)? }))
                    .collect::<Option<_>>()?,
            ),
            ComponentDefinedType::Variant(variant) => Type::Variant(
                variant
                    .cases
                    .iter()
                    .map(|(name, case)| {
                        let ty = match &case.ty {
                            Some(ty) => Some(inner(ty)?),
                            None => None,
                        };
                        Some(Case { name: name.to_string(), ty })
                    })
                    .collect::<Option<_>>()?,
            ),
            ComponentDefinedType::List { element, .. } => Type::list(inner(element)?),
            ComponentDefinedType::Tuple(tuple) => {
                Type::Tuple(tuple.types.iter().map(inner).collect::<Option<_>>()?)
            }
            ComponentDefinedType::Flags(names) => {
                Type::Flags(names.iter().map(ToString::to_string).collect())
            }
            ComponentDefinedType::Enum(names) => Type::Enum(names.iter().map(ToString::to_string).collect()),
            ComponentDefinedType::Option { ty, .. } => Type::option(inner(ty)?),
            ComponentDefinedType::Result { ok, err, .. } => {
                let side = |ty: &Option<ComponentValType>| match ty {
                    Some(ty) => inner(ty).map(Some),
                    None => Some(None),
                };
                Type::result(side(ok)?, side(err)?)
            }
            _ => return None,
        })
    }
}

fn primitive(ty: PrimitiveValType) -> Option<Type> {
    Some(match ty {
        PrimitiveValType::Bool => Type::Bool,
        PrimitiveValType::S8 => Type::S8,
        PrimitiveValType::U8 => Type::U8,
        PrimitiveValType::S16 => Type::S16,
        PrimitiveValType::U16 => Type::U16,
        PrimitiveValType::S32 => Type::S32,
        PrimitiveValType::U32 => Type::U32,
        PrimitiveValType::S64 => Type::S64,
        PrimitiveValType::U64 => Type::U64,
        PrimitiveValType::F32 => Type::F32,
        PrimitiveValType::F64 => Type::F64,
        PrimitiveValType::Char => Type::Char,
        PrimitiveValType::String => Type::String,
        PrimitiveValType::ErrorContext => return None,
    })
}
