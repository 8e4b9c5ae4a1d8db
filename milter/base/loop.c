/* loop */
#include "relaypool.h"
