//! A model of the admin: the declaration by an app, and the registered model that is built from it.

use chrono::DateTime;
use sea_orm::{
    EntityTrait, Value,
    sea_query::{Alias, Expr, ExprTrait, Func, Query},
};

use super::{
    entity::{Entity, KEY},
    field::{Field, Kind, Raw},
    options::{
        Cell, Computed, Dependent, FieldOptions, Fieldset, Layout, ListFilter, ManyToMany,
        ObjectAction, VirtualKind,
    },
    rules::Rules,
};
use crate::web::format::with_plural;

/// The declaration of a model in the admin: Django's `ModelAdmin`. Fields are named as their columns, foreign keys without `_id`.
pub struct ModelAdmin {
    /// The table.
    pub entity: Entity,
    /// The app's label, as in permissions and URLs.
    pub app_label: &'static str,
    /// The model's name in lower case.
    pub name: &'static str,
    /// Django's `verbose_name`.
    pub verbose_name: &'static str,
    /// Django's `verbose_name_plural`.
    pub verbose_name_plural: &'static str,
    /// Fields in another table with one row at most for each object ([`side_fields`](super::entity::side_fields)): each has a default, which an object without a
    /// row has.
    pub side_fields: Vec<Field>,
    /// Options of fields that the entity does not have.
    pub fields: Vec<FieldOptions>,
    /// Computed columns of the changelist.
    pub computed: Vec<Computed>,
    /// Many-to-many fields.
    pub many_to_many: Vec<ManyToMany>,
    /// Other tables whose rows are deleted with an object.
    pub dependents: Vec<Dependent>,
    /// The columns of the changelist: fields, computed ones, `key__field` of a related model, `__str__`.
    pub list_display: &'static [&'static str],
    /// Fields that can be edited in the changelist.
    pub list_editable: &'static [&'static str],
    /// The filters of the changelist: fields, and names of [`Self::filters`].
    pub list_filter: &'static [&'static str],
    /// Filters that are not by a field.
    pub filters: Vec<ListFilter>,
    /// Actions on selected objects, besides their deletion.
    pub actions: Vec<ObjectAction>,
    /// The fields of a search; `choice__choice_text` is a field of an inline or of a related model.
    pub search_fields: &'static [&'static str],
    /// The date field of the date hierarchy.
    pub date_hierarchy: Option<&'static str>,
    /// The fields that order the changelist, with `-` for descending; if empty, by descending key.
    pub ordering: &'static [&'static str],
    /// The number of rows on a page of the changelist.
    pub list_per_page: u64,
    /// The maximum number of rows of "Show all".
    pub list_max_show_all: u64,
    /// The groups of fields in the form; if empty, one with all fields.
    pub fieldsets: Vec<Fieldset>,
    /// The groups of fields in the form for a new object, if they differ.
    pub add_fieldsets: Option<Vec<Fieldset>>,
    /// Fields that are displayed and cannot be edited.
    pub readonly_fields: &'static [&'static str],
    /// The inlines of the form.
    pub inlines: Vec<Inline>,
    /// Whether the form has the button "Save as new".
    pub save_as: bool,
    /// The URL of an object's public page, given its key.
    pub view_on_site: Option<fn(i32) -> String>,
    /// Validation, and permissions for single objects.
    pub rules: Box<dyn Rules>,
}

impl ModelAdmin {
    /// The defaults: all fields in the form, the label in the changelist. `label` is Django's `__str__`.
    pub fn new<E: EntityTrait>(
        app_label: &'static str,
        (name, verbose_name_plural): (&'static str, &'static str),
        label: fn(&E::Model) -> String,
    ) -> Self {
        Self {
            entity: Entity::of::<E>(label),
            app_label,
            name,
            verbose_name: name,
            verbose_name_plural,
            side_fields: Vec::new(),
            fields: Vec::new(),
            computed: Vec::new(),
            many_to_many: Vec::new(),
            dependents: Vec::new(),
            list_display: &["__str__"],
            list_editable: &[],
            list_filter: &[],
            filters: Vec::new(),
            actions: Vec::new(),
            search_fields: &[],
            date_hierarchy: None,
            ordering: &[],
            list_per_page: 100,
            list_max_show_all: 200,
            fieldsets: Vec::new(),
            add_fieldsets: None,
            readonly_fields: &[],
            inlines: Vec::new(),
            save_as: false,
            view_on_site: None,
            rules: Box::new(()),
        }
    }
}

/// An inline (Django's `InlineModelAdmin`): the forms of the objects that refer to a parent object.
pub struct Inline {
    /// The model of the inline objects.
    pub model: Model,
    /// The layout.
    pub layout: Layout,
    /// The foreign key to the parent object (Django's `fk_name`).
    pub key: &'static str,
    /// The number of empty forms; by default 3.
    pub extra: usize,
    /// The maximum number of forms (Django's `max_num`); 1000.
    pub max: usize,
}

impl Inline {
    /// A tabular inline; `key` is the foreign key to the parent object.
    pub fn tabular(admin: ModelAdmin, key: &'static str) -> Self {
        Self::new(Layout::Tabular, admin, key)
    }

    /// A stacked inline; `key` is the foreign key to the parent object.
    pub fn stacked(admin: ModelAdmin, key: &'static str) -> Self {
        Self::new(Layout::Stacked, admin, key)
    }

    /// Sets the number of empty forms (Django's `extra`).
    pub fn extra(self, extra: usize) -> Self {
        Self { extra, ..self }
    }

    /// The prefix of its field names in a form: Django's default without a `related_name`.
    pub fn prefix(&self) -> String {
        format!("{}_set", self.model.options.name)
    }

    fn new(layout: Layout, admin: ModelAdmin, key: &'static str) -> Self {
        Self {
            model: Model::new(admin),
            layout,
            key,
            extra: 3,
            max: 1000,
        }
    }
}

/// A registered model.
pub struct Model {
    /// The declaration.
    pub options: ModelAdmin,
    /// The fields: first those with a column of the table, in their order, then those in another table, then many-to-many, then virtual
    /// ones.
    pub fields: Vec<Field>,
    /// The names in [`ModelAdmin::fields`] without a field, which `check` reports as errors.
    pub unknown_fields: Vec<&'static str>,
}

/// An object of any model.
#[derive(Debug, Clone)]
pub struct Object {
    /// The key.
    pub id: i32,
    /// The label: Django's `__str__`.
    pub label: String,
    /// The values of the columns, in the order of the model's fields.
    pub values: Vec<Value>,
    /// The computed columns, in the order of the declaration.
    pub computed: Vec<Cell>,
}

impl Model {
    /// Builds the model of a declaration.
    pub fn new(options: ModelAdmin) -> Self {
        let mut declared = options.fields.clone();
        let mut fields = options.entity.fields.clone();
        fields.extend(options.side_fields.iter().cloned());
        for field in &mut fields {
            let matching = declared.extract_if(.., |declared| {
                declared.name == field.name && declared.virtual_kind.is_none()
            });
            if let Some(declaration) = matching.last() {
                if let Some(verbose_name) = declaration.verbose_name {
                    verbose_name.clone_into(&mut field.verbose_name);
                }
                field.options = declaration;
            }
        }
        fields.extend(options.many_to_many.iter().map(many_to_many));
        let is_virtual = |declared: &mut FieldOptions| declared.virtual_kind.is_some();
        fields.extend(declared.extract_if(.., is_virtual).map(virtual_field));
        Self {
            unknown_fields: declared.iter().map(|declared| declared.name).collect(),
            options,
            fields,
        }
    }

    /// The table.
    pub fn table(&self) -> &'static str {
        self.options.entity.table
    }

    /// The filter with a name.
    pub fn filter(&self, name: &str) -> Option<&ListFilter> {
        self.options
            .filters
            .iter()
            .find(|filter| filter.name == name)
    }

    /// The field with a name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The many-to-many field with a name.
    pub fn relation(&self, name: &str) -> Option<&ManyToMany> {
        let mut relations = self.options.many_to_many.iter();
        relations.find(|relation| relation.name == name)
    }

    /// The value of a field in a query of the table.
    pub fn expression(&self, field: &Field) -> Expr {
        let Some(side) = field.side_table else {
            return self.column(field.column);
        };
        let table = Alias::new(side.table);
        let value = Query::select()
            .column((table.clone(), Alias::new(field.column)))
            .from(table.clone())
            .and_where(Expr::col((table, Alias::new(side.key))).eq(self.column(KEY)))
            .take();
        let value = Expr::from(value);
        match field
            .options
            .default
            .map(|default| default(DateTime::UNIX_EPOCH))
        {
            Some(default) => Func::coalesce([value, Expr::val(default)]).into(),
            None => value,
        }
    }

    /// The fields that have a column.
    pub fn concrete(&self) -> impl Iterator<Item = &Field> {
        self.fields
            .iter()
            .filter(|field| !matches!(field.kind, Kind::ManyToMany | Kind::Virtual(_)))
    }

    /// The value of an object's field.
    pub fn value<'a>(&self, object: &'a Object, name: &str) -> Option<&'a Value> {
        let position = self.concrete().position(|field| field.name == name)?;
        object.values.get(position)
    }

    /// A number of objects with their name: `2 questions`.
    pub fn counted(&self, number: u64) -> String {
        let names = &self.options;
        with_plural(number, names.verbose_name, names.verbose_name_plural)
    }

    /// The name of the permission for an action: `polls_app.change_question`.
    pub fn permission(&self, action: &str) -> String {
        format!("{}.{action}_{}", self.options.app_label, self.options.name)
    }

    /// The URL of the changelist.
    pub fn url(&self) -> String {
        format!("/admin/{}/{}/", self.options.app_label, self.options.name)
    }

    /// The URL of a page of one object: `change`, `delete` or `history`.
    pub fn object_url(&self, id: i32, page: &str) -> String {
        format!("{}{id}/{page}/", self.url())
    }

    /// A column of the table.
    pub fn column(&self, column: &str) -> Expr {
        Expr::col((Alias::new(self.table()), Alias::new(column)))
    }

    /// The form data of an object's field.
    pub fn raw(&self, object: &Object, field: &Field, zone: chrono_tz::Tz) -> Raw {
        self.value(object, field.name)
            .map_or_else(Raw::new, |value| field.raw(value, zone))
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.options.app_label, self.options.name)
    }
}

fn many_to_many(relation: &ManyToMany) -> Field {
    let options = FieldOptions {
        help_text: relation.help_text,
        ..FieldOptions::new(relation.name)
    };
    Field {
        name: relation.name,
        column: "",
        side_table: None,
        verbose_name: relation.verbose_name.to_owned(),
        kind: Kind::ManyToMany,
        null: false,
        unique: false,
        options,
    }
}

fn virtual_field(options: FieldOptions) -> Field {
    Field {
        name: options.name,
        column: "",
        side_table: None,
        verbose_name: options.verbose_name.unwrap_or(options.name).to_owned(),
        kind: Kind::Virtual(options.virtual_kind.unwrap_or(VirtualKind::Description)),
        null: false,
        unique: false,
        options,
    }
}
