"""The polls in Django's admin, declared as ours are."""

import datetime

from django.contrib import admin
from django.db.models import Sum
from django.utils import timezone

from .models import Choice, Question


class ChoiceInline(admin.TabularInline):
    model = Choice
    extra = 3


@admin.register(Question)
class QuestionAdmin(admin.ModelAdmin):
    fieldsets = [
        (None, {"fields": ["question_text"]}),
        ("Date information", {"fields": ["pub_date"], "classes": ["collapse"]}),
    ]
    inlines = [ChoiceInline]
    list_display = ["question_text", "pub_date", "was_published_recently", "votes"]
    list_filter = ["pub_date"]
    search_fields = ["question_text", "choice__choice_text"]
    date_hierarchy = "pub_date"

    def get_queryset(self, request):
        return super().get_queryset(request).annotate(votes=Sum("choice__votes"))

    @admin.display(boolean=True, ordering="pub_date", description="Published recently?")
    def was_published_recently(self, question):
        now = timezone.now()
        return now - datetime.timedelta(days=1) <= question.pub_date <= now

    def votes(self, question):
        return question.votes
