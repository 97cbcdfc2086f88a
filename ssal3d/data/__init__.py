"""Where frames and labels come from: converters, label state, and views that hide what nobody bought."""
