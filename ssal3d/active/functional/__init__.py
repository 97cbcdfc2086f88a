"""The mathematics of the samplers: functions of arrays, without files, models and MMDetection3D."""
