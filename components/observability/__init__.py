"""What people see of a running stack: dashboards, recording rules, alerts.

    queries            every PromQL expression, once
    panels             how an expression is drawn
    overview           the dashboard DRC-IO Overview
    controller_board   the dashboard DRC-IO Controller
    dashboards         both as JSON
    rules              recording and alert rules
    resources          ConfigMaps and PrometheusRules

Only `resources` knows Pulumi; only `panels` and its users load Grafana's SDK.
"""
