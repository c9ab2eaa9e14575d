//! `tenancy.freehold.dev`: who uses the cloud, in which projects, with which people.

mod project;
mod tenant;
mod tenant_member;

pub use project::{NetworkIsolation, Project, ProjectSpec, ProjectStatus, ShortText};
pub use tenant::{
    Contact, ContactRole, DeletionPolicy, PaymentMode, Tenant, TenantPhase, TenantSpec,
    TenantStatus, TenantType,
};
pub use tenant_member::{
    BuiltInRole, MemberSubject, RoleReference, SubjectKind, TenantMember, TenantMemberSpec,
    TenantMemberStatus,
};
