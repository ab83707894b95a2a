"""Searches for likely label errors; reviewers' reasons found without a walk."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("labeling", "0009_raised_priority"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="LabelCheck",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "asked_at",
                    models.DateTimeField(auto_now_add=True, verbose_name="asked"),
                ),
                (
                    "finished_at",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="finished"
                    ),
                ),
                (
                    "examined",
                    models.PositiveIntegerField(
                        default=0, verbose_name="labels examined"
                    ),
                ),
                (
                    "found",
                    models.PositiveIntegerField(
                        default=0, verbose_name="likely errors"
                    ),
                ),
                (
                    "left_out",
                    models.JSONField(
                        default=list,
                        help_text="Codes of intents with too few labels to judge them.",
                        verbose_name="intents left out",
                    ),
                ),
                (
                    "features",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("vectors", "Vectors of the encoder"),
                            ("texts", "Words and characters"),
                        ],
                        default="",
                        max_length=8,
                        verbose_name="judged by",
                    ),
                ),
                (
                    "refusal",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("few_labels", "Too few labels"),
                            (
                                "few_intents",
                                "Fewer than two intents with enough labels",
                            ),
                            ("failed", "It broke off; the worker's log says why"),
                        ],
                        default="",
                        max_length=12,
                        verbose_name="why not",
                    ),
                ),
            ],
            options={
                "verbose_name": "search for label errors",
                "verbose_name_plural": "searches for label errors",
            },
        ),
        migrations.AddIndex(
            model_name="labelchange",
            index=models.Index(
                condition=models.Q(("kind", "adjudication")),
                fields=["-id"],
                name="label_change_adjudications",
            ),
        ),
        migrations.AddField(
            model_name="labelcheck",
            name="by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="by",
            ),
        ),
        migrations.AddField(
            model_name="labelcheck",
            name="project",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="label_checks",
                to="labeling.project",
                verbose_name="project",
            ),
        ),
        migrations.AddIndex(
            model_name="labelcheck",
            index=models.Index(fields=["project", "-id"], name="label_check_newest"),
        ),
    ]
