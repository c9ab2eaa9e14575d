//! `billing.freehold.dev`: what is counted, and what it costs.

mod meter;
mod price_plan;

pub use meter::{
    DisplayUnit, GapPolicy, LifecycleSource, Meter, MeterBounds, MeterKind, MeterSource, MeterSpec,
    MeterStatus, PrometheusSource,
};
pub use price_plan::{
    BillingCycle, FlatPrice, GraduatedPrice, PerUnitPrice, Phase, PlanVersionStatus, Price,
    PricePlan, PricePlanSpec, PricePlanStatus, RateCard, RoundingMode, Tier, Visibility,
};
