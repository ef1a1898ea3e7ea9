//! Stub replaced by the memory port.
use super::*;
#[derive(Clone, Debug)]
pub struct ContextQuery {
    pub persona_id: Uuid,
    pub query: String,
    pub max_tokens: u32,
    pub mode: RecallMode,
    pub filter: MemoryFilter,
}
#[derive(Clone, Debug)]
pub struct Citation {
    pub marker: u32,
    pub memory: MemoryRecord,
    pub score: f64,
}
#[derive(Clone, Debug)]
pub struct Context {
    pub text: String,
    pub tokens: u32,
    pub citations: Vec<Citation>,
    pub omitted: u32,
}
impl Memory {
    pub async fn contexts(&self, _scope: &Scope, _queries: &[ContextQuery]) -> Result<Vec<Result<Context>>> {
        Ok(Vec::new())
    }
}
