from django.contrib import admin
from django.urls import path
from polls_app import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("polls/", views.index, name="index"),
    path("polls/<int:pk>/", views.detail, name="detail"),
    path("polls/<int:pk>/results/", views.results, name="results"),
    path("polls/<int:pk>/vote/", views.vote, name="vote"),
]
