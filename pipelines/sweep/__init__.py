"""The verb `sweep`: whole runs over points of a space of settings, on Ray Tune, with a ledger of its own.

::

    runs/<sweep>/             run.json owner.json  the sweep's identity and lease, as a run's
      points/0000.json        what Optuna asked, batch by batch, each written before it is run
      rungs.json              with asha: who was seen at which rung, and stopped there
      trials/<trial>.json     one per finished trial
      results.json heatmap.png front.png best.yaml
    runs/<sweep>-<digest>-s<seed>/     a trial, a run like any other
"""
