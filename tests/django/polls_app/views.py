"""The pages of Django's tutorial, which the deployment has."""

from django.db.models import F
from django.http import HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone

from .models import Choice, Question


def published():
    return Question.objects.filter(pub_date__lte=timezone.now())


def index(request):
    latest = published().order_by("-pub_date")[:5]
    return render(request, "polls_app/index.html", {"latest_question_list": latest})


def detail(request, pk):
    return render(request, "polls_app/detail.html", {"question": get_object_or_404(published(), pk=pk)})


def results(request, pk):
    return render(request, "polls_app/results.html", {"question": get_object_or_404(published(), pk=pk)})


def vote(request, pk):
    question = get_object_or_404(published(), pk=pk)
    try:
        choice = question.choice_set.get(pk=request.POST["choice"])
    except (KeyError, Choice.DoesNotExist):
        context = {"question": question, "error_message": "You didn't select a choice."}
        return render(request, "polls_app/detail.html", context)
    choice.votes = F("votes") + 1
    choice.save()
    return HttpResponseRedirect(reverse("results", args=(question.id,)))
