"""The touch screen in the gallery: one Gradio page that asks the service over HTTP and knows nothing else of it."""

from ui.settings import keep_offline

keep_offline()  # here, because it must come before any module of ours imports gradio
