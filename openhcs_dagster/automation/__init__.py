"""What starts and ends runs without a person: jobs, schedules, sensors, the nightly look for stale plates, lost runs.

What a run does is in ``plate``.
"""
