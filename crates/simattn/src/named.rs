use burn::{
    module::{Module, ModuleVisitor, Param, ParamId},
    tensor::Tensor,
};

/// A parameter, its name and its shape.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedParameter {
    /// Identity under which gradients and optimiser states are kept.
    pub id: ParamId,
    /// Path of fields, for example `layers.0.attention.q.weight`.
    pub name: String,
    /// Lengths of its axes.
    pub shape: Vec<usize>,
}

/// All float parameters of a module in the order of its fields.
pub fn parameters<M: Module>(module: &M) -> Vec<NamedParameter> {
    struct Collect {
        path: Path,
        found: Vec<NamedParameter>,
    }
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }
        fn exit_module(&mut self, _: &str, container_type: &str) {
            self.path.exit(container_type);
        }
        fn visit_float<const R: usize>(&mut self, param: &Param<Tensor<R>>) {
            self.found.push(NamedParameter {
                id: param.id,
                name: self.path.name(),
                shape: param.lazy_shape().to_vec(),
            });
        }
    }
    let mut collect = Collect {
        path: Path::default(),
        found: Vec::new(),
    };
    module.visit(&mut collect);
    collect.found
}

/// The path to the parameter being visited. An enum adds nothing to it: which variant a model
/// has is in its configuration, and `attention.q` reads the same for all of them.
#[derive(Clone, Debug, Default)]
pub struct Path(Vec<String>);

impl Path {
    /// To be called from `enter_module`.
    pub fn enter(&mut self, name: &str, container_type: &str) {
        if !container_type.starts_with("Enum:") {
            self.0.push(name.into());
        }
    }

    /// To be called from `exit_module`.
    pub fn exit(&mut self, container_type: &str) {
        if !container_type.starts_with("Enum:") {
            self.0.pop();
        }
    }

    /// The fields joined by dots.
    pub fn name(&self) -> String {
        self.0.join(".")
    }
}
