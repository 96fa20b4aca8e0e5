//! From a declaration to the model that the engine works with: the entity's type ends here.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ColumnType, DbErr, EntityTrait, FromQueryResult, IdenStatic, Iterable, ModelTrait,
    PrimaryKeyToColumn, QueryResult, sea_query::StringLen,
};

use super::{
    field::{Field, Kind},
    model::{ComputedColumn, InlineModel, KEY, Model, Object},
    options::{Cell, Computed, FieldOptions, Inline, ManyToMany, ModelAdmin, Source, VirtualKind},
};
use crate::entities::references;

const CHAR_LIMIT: u32 = 255;

impl Model {
    /// Leaves the entity's type behind.
    pub(super) fn new<E: EntityTrait>(admin: ModelAdmin<E>) -> Self
    where
        E::Model: Sync,
    {
        let keys: Vec<_> = E::PrimaryKey::iter()
            .map(|key| key.into_column().as_str().to_owned())
            .collect();
        let columns: Vec<E::Column> = E::Column::iter()
            .filter(|column| column.as_str() != KEY)
            .collect();
        let mut options = admin.fields;
        let mut fields: Vec<Field> = columns
            .iter()
            .map(|column| field::<E>(*column, &mut options))
            .collect();
        fields.extend(admin.many_to_many.iter().map(many_to_many));
        let is_virtual = |options: &FieldOptions| options.virtual_kind.is_some();
        fields.extend(
            options
                .extract_if(.., |options| is_virtual(options))
                .map(virtual_field),
        );
        let (computed, sources): (Vec<_>, Vec<_>) = admin.computed.into_iter().map(split).unzip();
        let names: Vec<&'static str> = computed.iter().map(|column| column.name).collect();
        let label = admin.label;
        let read = move |row: &QueryResult, now: DateTime<Utc>| {
            let model = E::Model::from_query_result(row, "")?;
            let cell = |(source, name): (&Source<E::Model>, &&str)| match source {
                Source::Row(compute) => Ok(compute(&model, now)),
                Source::Sql(_) => row
                    .try_get::<Option<i64>>("", name)
                    .map(|n| Cell::Number(n.unwrap_or(0))),
            };
            Ok(Object {
                id: row.try_get("", KEY)?,
                label: label(&model),
                values: columns.iter().map(|column| model.get(*column)).collect(),
                computed: sources
                    .iter()
                    .zip(&names)
                    .map(cell)
                    .collect::<Result<_, DbErr>>()?,
            })
        };
        Self {
            app_label: admin.app_label,
            name: admin.name,
            verbose_name: admin.verbose_name,
            verbose_name_plural: admin.verbose_name_plural,
            table: E::default().table_name(),
            fields,
            computed,
            many_to_many: admin.many_to_many,
            dependents: admin.dependents,
            list_display: admin.list_display,
            list_editable: admin.list_editable,
            list_filter: admin.list_filter,
            search_fields: admin.search_fields,
            date_hierarchy: admin.date_hierarchy,
            ordering: admin.ordering,
            list_per_page: admin.list_per_page,
            list_max_show_all: admin.list_max_show_all,
            fieldsets: admin.fieldsets,
            add_fieldsets: admin.add_fieldsets,
            readonly_fields: admin.readonly_fields,
            inlines: admin.inlines.into_iter().map(inline).collect(),
            save_as: admin.save_as,
            view_on_site: admin.view_on_site,
            rules: admin.rules,
            unknown_options: options.iter().map(|options| options.name).collect(),
            has_usual_key: keys == [KEY],
            read: Box::new(read),
        }
    }
}

fn field<E: EntityTrait>(column: E::Column, options: &mut Vec<FieldOptions>) -> Field {
    let (definition, name) = (column.def(), column.as_str());
    let references = references::<E>(name);
    let kind = match (definition.get_column_type(), references) {
        (_, Some(table)) => Kind::ForeignKey(table),
        (ColumnType::String(StringLen::N(length)), _) => Kind::Char(*length),
        (ColumnType::String(_), _) => Kind::Char(CHAR_LIMIT),
        (ColumnType::SmallInteger, _) => Kind::SmallInteger,
        (ColumnType::Integer, _) => Kind::Integer,
        (ColumnType::Boolean, _) => Kind::Boolean,
        (ColumnType::TimestampWithTimeZone, _) => Kind::DateTime,
        _ => Kind::Text,
    };
    let short = match kind {
        Kind::ForeignKey(_) => name.strip_suffix("_id").unwrap_or(name),
        _ => name,
    };
    let position = options
        .iter()
        .position(|options| options.name == short && options.virtual_kind.is_none());
    let options = position.map_or(FieldOptions::new(short), |position| {
        options.remove(position)
    });
    Field {
        name: short,
        column: name,
        verbose_name: options
            .verbose_name
            .map_or_else(|| short.replace('_', " "), str::to_owned),
        kind,
        null: definition.is_null(),
        unique: definition.is_unique(),
        options,
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
        verbose_name: options.verbose_name.unwrap_or(options.name).to_owned(),
        kind: Kind::Virtual(options.virtual_kind.unwrap_or(VirtualKind::Description)),
        null: false,
        unique: false,
        options,
    }
}

fn split<M>(computed: Computed<M>) -> (ComputedColumn, Source<M>) {
    let sql = match computed.source {
        Source::Sql(sql) => Some(sql),
        Source::Row(_) => None,
    };
    let Computed {
        name,
        heading,
        ordered_by,
        source,
    } = computed;
    (
        ComputedColumn {
            name,
            heading,
            ordered_by,
            sql,
        },
        source,
    )
}

fn inline(inline: Inline) -> InlineModel {
    let Inline {
        layout,
        key,
        extra,
        max,
        build,
    } = inline;
    InlineModel {
        model: build(),
        layout,
        key,
        extra,
        max,
    }
}
